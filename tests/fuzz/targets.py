"""What is fuzzed: functions of bytes that must end well or with a `UserError`. Any other exception is a finding."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModelContext

from pipeline.config.options import Rows, Symbols
from pipeline.config.params import Data, Order, Prepare, load_params
from pipeline.data.alphabet import Alphabet
from pipeline.data.cmudict import read_cmudict
from pipeline.data.corpus import read_corpus, read_pairs, read_targets
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.model.inference import TrainedModel
from pipeline.prediction.bundle import BUNDLE, write_bundle
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import RunMetadata, load_history, run_folder
from pipeline.runs.groups import RERANKERS, RerankMetadata
from pipeline.stages.prepare import summarise
from pipeline.text import check_sources
from pipeline.tracking.flavor import ServedModel
from tests.conftest import PROJECT
from tests.support.nasty import BAD_FILES, BAD_ROWS, BAD_SOURCES, TEXTS
from tests.support.small_project import RUNS, make_project

Target = Callable[[bytes], None]
LONGEST_SEED = 4096  # bytes: what mutation starts from is small


class Targets:
    """The targets by name, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.by_name: dict[str, Target] = {
            "rows": self.rows, "packed": self.packed, "cmudict": self.cmudict, "params": self.params,
            "alphabet": self.alphabet, "store": self.store, "prepared": self.prepared, "prepare": self.prepare,
            "sources": self.sources, "served": self.served, "model": self.model,
        }  # fmt: skip

    def set_up(self, name: str) -> None:
        """Make what a target needs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if name in ("prepared", "model", "served", "sources"):
            make_project(self.project)
        if name == "prepared":
            shutil.copytree(self.project / PREPARED, self.folder / "prepared")
        if name in ("served", "sources"):
            with chdir(self.project):
                write_bundle(self.folder / "bundle", RUNS[-1])
            self._served = ServedModel()
            self._served.load_context(PythonModelContext({BUNDLE: str(self.folder / "bundle")}, {}))
            self._predictor = Predictor.load(self.folder / "bundle", Order.BEAM)
        if name == "model":
            self._files = [
                *(path for path in (self.project / run_folder("tandem", 0)).iterdir() if path.is_file()),
                self.project / RERANKERS / "tandem" / "metadata.json",
                self.project / RUNS[-1].reranker,
            ]
            self._trained = TrainedModel.load(self.project / run_folder("tandem", 0))
            self._whole = {path: path.read_bytes() for path in sorted(self._files)}
        if name == "prepare":
            (self.folder / "data/raw").mkdir(parents=True)

    def seeds(self, name: str) -> Iterable[bytes]:
        """What mutation starts from: the small ones of the nasty inputs, and something whole."""
        rows = [row for row, _ in BAD_ROWS.values()] + [f"{text}\t{text}".encode() for text in TEXTS.values()]
        files = [content for _, content, _ in BAD_FILES.values()]
        whole = {
            "rows": ["č\tb\r\nd e\tf\n".encode()],
            "packed": [gzip.compress(row) for row in rows if len(row) < LONGEST_SEED],
            "cmudict": [b"word W ER1 D # a comment\nword(2) W AO1 R D\n"],
            "params": [(PROJECT / "params.yaml").read_bytes()],
            "alphabet": [self._saved_alphabet(kind) for kind in Symbols],
            "store": [self._saved_store()],
            "prepared": [b"\0\1a", b"\3A\ta\n"],
            "prepare": [b"a\tb\nc\td\ne\tf\0b\nd\nf\ng\n"],
            "sources": [b"F AO\nK"],
            "served": [b'{"inputs": ["F AO"], "params": {"n_best": 3, "beam_width": 4, "order": "beam"}}'],
            "model": [bytes([number, 0, 9, 65, 66]) for number in range(8)],
        }[name]
        texts = [source.encode("utf-8", "surrogatepass") for source in BAD_SOURCES]
        return [seed for seed in (*whole, *rows, *files, *texts) if len(seed) <= max(LONGEST_SEED, len(whole[0]))]

    def rows(self, data: bytes) -> None:
        """A file of pairs and one of targets."""
        path = self._file("rows.tsv", data)
        for kind in Symbols:
            for skipped in (False, True):
                _or_user_error(read_pairs, path, kind, kind, 20, [] if skipped else None)
                _or_user_error(read_targets, path, kind, 20, [] if skipped else None)

    def packed(self, data: bytes) -> None:
        """A packed file of targets."""
        _or_user_error(read_targets, self._file("rows.gz", data), Symbols.CHARACTERS, 20, [])

    def cmudict(self, data: bytes) -> None:
        """A dictionary of sounds."""
        _or_user_error(read_cmudict, self._file("cmudict.dict", data), 20)

    def params(self, data: bytes) -> None:
        """A file of parameters."""
        _or_user_error(load_params, self._file("params.yaml", data))

    def alphabet(self, data: bytes) -> None:
        """An alphabet; one that loads encodes and decodes all of its symbols."""
        alphabet = _or_user_error(Alphabet.load, self._file("alphabet.json", data))
        if alphabet:
            assert all(alphabet.decode(alphabet.encode(symbol)) == symbol for symbol in alphabet.symbols)

    def store(self, data: bytes) -> None:
        """A store: the length of its ids in two bytes, its ids, its offsets; one that opens has whole rows."""
        ids = int.from_bytes(data[:2], "little")
        self._file("x.ids.npy", data[2 : 2 + ids])
        self._file("x.offsets.npy", data[2 + ids :])
        store = _or_user_error(StringStore.open, self.folder / "x")
        if store and store.offsets[-1] < 10_000 and len(store) < 10_000:
            store.padded(np.arange(len(store)))

    def prepared(self, data: bytes) -> None:
        """A folder of prepared data with one of its files replaced, in whole or from a place on."""
        whole = sorted((self.project / PREPARED).iterdir())
        path = whole[data[0] % len(whole)] if data else whole[0]
        damaged = self.folder / "prepared" / path.name
        content, place = path.read_bytes(), int.from_bytes(data[1:2], "little")
        damaged.write_bytes(content[:place] + data[2:] + (content[place + len(data) - 2 :] if place % 2 else b""))
        _or_user_error(self._read_prepared)
        damaged.write_bytes(content)

    def prepare(self, data: bytes) -> None:
        """The whole stage, on pairs and targets that a NUL separates; the first byte decides on options."""
        raw = self.folder / "data/raw"
        pairs, _, targets = data[1:].partition(b"\0")
        options = data[0] if data else 0
        (raw / "pairs.tsv").write_bytes(pairs)
        (raw / "targets.txt").write_bytes(targets)
        _or_user_error(self._run_prepare, raw, options)

    def sources(self, data: bytes) -> None:
        """Lines that `tandem predict` is given for sources, on the command line and in a file."""
        arguments = [line.decode("utf-8", "surrogateescape") for line in data.split(b"\n")][:8]
        from_file = _or_user_error(read_targets, self._file("sources.txt", data), Symbols.CHARACTERS, 10_000)
        for some in (arguments, (from_file or [])[:8]):
            _or_user_error(self._predict, [source[:30] for source in some])

    def served(self, data: bytes) -> None:
        """A request to the served model: JSON, else lines of text as its sources."""
        try:
            request = json.loads(data)
            inputs, params = request["inputs"], request.get("params")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            inputs, params = data.decode("utf-8", "surrogateescape").split("\n")[:8], {}
        if isinstance(params, dict):
            params = {**params, "beam": params.get("beam", 2)}
        try:
            self._served.predict(None, inputs, params)
        except MlflowException as error:
            if error.get_http_status_code() != 400:
                raise

    def model(self, data: bytes) -> None:
        """The folder of a run and its reranker, with bytes of one file overwritten or the file cut off."""
        paths = sorted(self._files)
        path = paths[data[0] % len(paths)] if data else paths[0]
        whole = self._whole[path]
        place, rest = int.from_bytes(data[1:4], "little") % (len(whole) + 1), data[4:]
        path.write_bytes(whole[:place] + rest + (whole[place + len(rest) :] if len(data) % 4 else b""))
        run = self.project / run_folder("tandem", 0)
        match path.name:
            case "run.json":
                _or_user_error(RunMetadata.load, run)
            case "history.csv":
                _or_user_error(load_history, run)
            case "metadata.json":
                _or_user_error(RerankMetadata.load, self.project / RERANKERS / "tandem")
            case _:
                _or_user_error(Reranker.load, self.project / RUNS[-1].reranker)
                loaded = _or_user_error(lambda: TrainedModel.load(run, instead_of=self._trained))
                self._trained = loaded or self._trained
        path.write_bytes(whole)

    def _file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def _saved_alphabet(self, kind: Symbols) -> bytes:
        path = self.folder / "seed.json"
        Alphabet(kind, ("a", "č")).save(path)
        return path.read_bytes()

    def _saved_store(self) -> bytes:
        StringStore.of(["ab", "", "b"], Alphabet(Symbols.CHARACTERS, ("a", "b"))).save(self.folder / "seed")
        ids, offsets = ((self.folder / f"seed.{half}.npy").read_bytes() for half in ("ids", "offsets"))
        return len(ids).to_bytes(2, "little") + ids + offsets

    def _read_prepared(self) -> None:
        prepared = Prepared.open(self.folder / "prepared")
        assert prepared.digest
        assert prepared.train
        assert prepared.dev
        assert prepared.test
        prepared.among_unpaired(["a"])
        for store in (prepared.train_sources, prepared.train_targets, prepared.targets):
            store.padded(np.arange(len(store)))

    def _run_prepare(self, raw: Path, options: int) -> None:
        kinds, rows = tuple(Symbols), tuple(Rows)
        given = raw / "pairs.tsv" if options & 1 else None
        data = Data(
            "files", Path("data/raw/pairs.tsv"), Path("data/raw/targets.txt"), None, None, None, rows[options >> 5 & 1],
            kinds[options >> 1 & 1], kinds[options >> 2 & 1],
        )  # fmt: skip
        settings = Prepare(
            pairs=None, resamples=1, sample=0, dev=1, test=1, targets=None, sources=None,
            hold_out_targets=bool(options & 8),
            on_bad_row="skip" if options & 16 else "error", strict=False, max_symbols=20, seed=0,
        )  # fmt: skip
        with chdir(self.folder):
            if given:  # the same pairs on all sides
                data = Data(**{**vars(data), "dev": data.pairs, "test": data.pairs})
            corpus = read_corpus(data, settings)
            write_prepared(Path("prepared"), corpus, data.source_symbols, data.target_symbols)
            summarise(corpus, Prepared.open(Path("prepared")))
            assert list(Prepared.open(Path("prepared")).dev) == list(corpus.dev)

    def _predict(self, sources: list[str]) -> None:
        check_sources(sources)
        for choices in self._predictor.predict(sources):
            for choice in choices:
                choice.text.encode()  # it can be printed


def _or_user_error(function: Callable[..., Any], *args: object) -> Any:
    try:
        return function(*args)
    except UserError:
        return None
