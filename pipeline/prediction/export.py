"""A trained model as a TensorFlow SavedModel: strings in, ranked strings out, without this package or Keras.

It holds the networks and their search, not the reranker.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config.options import Symbols
from pipeline.data.alphabet import PADDING, SPECIALS, UNKNOWN, Alphabet, join
from pipeline.errors import UserError
from pipeline.model.backend import tf
from pipeline.model.inference import TrainedModel
from pipeline.model.search import Search, beam_search, greedy_search

BEAM, GREEDY = "serving_default", "greedy"  # signatures; the first name is that which TensorFlow Serving asks for
WHITE_SPACE = r"[\t-\r\x1c-\x20\x{85}\p{Z}]"  # in the syntax of RE2: what `str.split` takes for white space

FromStrings = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def export_model(model: TrainedModel, folder: Path, beam_width: int, n_best: int) -> None:
    """Write a SavedModel into a new folder, all of it or nothing; raises `UserError` if it cannot be written.

    Both signatures take `sources`, string [B] in normal form C, and give `predictions`, string [B, N], and
    `log_probabilities`, float32 [B, N], the most likely first: `BEAM` with N = n_best <= beam_width, `GREEDY` with
    N = 1. White space is treated as in `text.one_spaced`. If there are fewer than N different strings, the rest are
    empty, with a log probability of -inf.
    """
    members = [network.predictor for network in model.networks]
    longest = model.networks[0].sizes.longest_output
    saved = tf.Module()
    saved.weights = [weight.value for member in members for weight in member.variables]
    saved.table = _table(model.source_alphabet)
    signatures = {
        BEAM: _from_strings(model, saved.table, beam_search(members, longest, beam_width), n_best),
        GREEDY: _from_strings(model, saved.table, greedy_search(members, longest), 1),
    }
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            new = Path(place) / folder.name
            tf.saved_model.save(saved, new, signatures, options)
            new.rename(folder)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{folder} cannot be written: {error}") from error


def _from_strings(model: TrainedModel, table: tf.lookup.StaticHashTable, search: Search, n_best: int) -> FromStrings:
    by_spaces = model.source_alphabet.kind is Symbols.SPACES
    separator = join(["", ""], model.target_alphabet.kind)
    texts = tf.constant([""] * SPECIALS + list(model.target_alphabet.symbols))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="sources")], autograph=False)
    def predict(sources: tf.Tensor) -> dict[str, tf.Tensor]:
        spaced = tf.strings.regex_replace(sources, f"{WHITE_SPACE}+", " ")
        spaced = tf.strings.regex_replace(spaced, "^ | $", "")
        symbols = tf.strings.split(spaced) if by_spaces else tf.strings.unicode_split(spaced, "UTF-8")
        ids = table.lookup(symbols).to_tensor(PADDING)
        ids = tf.pad(ids, [[0, 0], [0, 1]], constant_values=PADDING)  # even where all sources are empty, S is 1
        written, scores = search(ids)
        found = tf.strings.reduce_join(tf.gather(texts, written), axis=2, separator=separator)
        if separator:
            found = tf.strings.strip(found)  # of what stands between the special ids at the end
        found = tf.where(tf.math.is_inf(scores), "", found)
        return {"predictions": found[:, :n_best], "log_probabilities": scores[:, :n_best]}

    return predict


def _table(alphabet: Alphabet) -> tf.lookup.StaticHashTable:
    ids = tf.range(SPECIALS, len(alphabet), dtype=tf.int32)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(list(alphabet.symbols), ids), UNKNOWN)
