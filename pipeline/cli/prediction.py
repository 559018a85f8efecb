"""Commands that predict: from sources to targets, and to counterparts in a list."""

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.cli.options import LAST_REPRO, NO_KNOWN, THIS_MACHINE, option
from pipeline.config.params import Order
from pipeline.errors import UserError
from pipeline.text import cell, normal_form

if TYPE_CHECKING:
    from pipeline.prediction.known import Known
    from pipeline.prediction.predictor import PredictionOptions, Predictor
    from pipeline.runs.groups import RunGroup

FEW = 64  # sources: NumPy has their predictions before tensorflow is imported

INPUT = (
    "File with a source per line (also .gz, .bz2, .xz), TSV or Parquet file, or a pattern in quotes, "
    "'shards/*.parquet'; - is standard input."
)

log = logging.getLogger(__name__)


def _sources(text: str) -> Any:
    return typer.Argument(help=text, parser=as_utf_8)


def as_utf_8(argument: str) -> str:
    """The text of an argument whose bytes are UTF-8, even if Python decoded them as the locale says."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return argument


def predict(
    sources: Annotated[list[str] | None, _sources("Sources; none: one per line of --input.")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help=INPUT)] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 1,
    strategy: Annotated[str | None, option("A trained strategy.", "the best on dev.")] = None,
    seed: Annotated[int | None, option("A trained seed.", "the seed with the highest dev accuracy.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="All seeds, their probabilities averaged.")] = False,
    order: Annotated[Order | None, option("How candidates are ranked.", LAST_REPRO)] = None,
    beam_width: Annotated[
        int | None, option("At least --n-best.", LAST_REPRO, "--beam-width", "--beam", min=1, max=100)
    ] = None,
    model: Annotated[str | None, option("models:/NAME@ALIAS, runs:/... or a folder.", "a run of models/.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for Parquet files, one for each of --input.")] = None,
    column: Annotated[str | None, option("Column of --input.", "source, or the first one of a TSV.")] = None,
    engine: Annotated[Literal["local", "ray"] | None, option("With --output; ray uses all cores.", "local.")] = None,
    address: Annotated[str | None, option("With --engine ray: of a cluster.", THIS_MACHINE)] = None,
    no_known: Annotated[bool, typer.Option("--no-known", help=NO_KNOWN)] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Also: which source symbols each symbol is from.")
    ] = False,
    at_least: Annotated[float, typer.Option(min=0, max=1, help="Confidence of a first prediction that is kept.")] = 0,
    otherwise: Annotated[Literal["empty", "copy"] | None, option("The others are left so.", "empty.", "--else")] = None,
) -> None:
    """Write a TSV of source, rank, prediction, log probability, confidence and unknown symbols to standard output."""
    if sources and input_file:
        raise UserError("give sources on the command line or --input, not both")
    _one_choice(strategy, seed, ensemble, model)
    if output and input_file in (None, Path("-")):
        raise UserError("--output needs --input with the name of a file, or a pattern such as 'shards/*.parquet'")
    if output and address and engine != "ray":
        raise UserError("--address is that of a Ray cluster: give --engine ray as well")
    if sources and column:
        raise UserError("--column names a column of --input: leave it out, or give --input")
    if not output and (engine or address):
        raise UserError("--engine and --address are for prediction into files: give --output as well")
    if otherwise and not at_least:
        raise UserError("--else is for predictions that are less sure than --at-least: give that as well")
    shown = {"alignment": alignment, "at_least": at_least, "copy": otherwise == "copy"}
    if output:  # imports stand where they are needed: a wrong call does not wait
        from pipeline.runs.groups import RunGroup

        group = None if model else RunGroup.choose(strategy, seed, ensemble)
        from pipeline.prediction.shards import find_shards

        shards = find_shards(str(input_file))
        from pipeline.prediction.engines import run_here, run_on_ray
        from pipeline.prediction.files import predict_shards
        from pipeline.prediction.predictor import PredictionOptions
        from pipeline.runs.groups import RerankMetadata

        with _bundle(model, group, order) as bundle:
            decoding = RerankMetadata.load(bundle).decoding
            options = PredictionOptions.resolve(decoding, order, beam_width, n_best, **shown)
            runner = partial(run_on_ray, address=address) if engine == "ray" else run_here
            summary = predict_shards(shards, output, bundle, options, runner, column, _known(no_known))
        print(summary)
        _mention_unsure(summary.unsure, summary.sources - summary.unusable, options)
        return
    from pipeline.prediction.sources import from_arguments, from_input, unknown_symbols, usable

    given = usable(from_arguments(sources) if sources else from_input(input_file, column))
    predictor = _predictor(strategy, seed, ensemble, model, order, few=len(given) <= FEW)
    predictor = dataclasses.replace(predictor, known=_known(no_known))
    options = predictor.options(order, beam_width, n_best, **shown)
    given = usable(given, predictor.length_fault)
    rows = [source.text.strip() for source in given]
    unknown = unknown_symbols(given, predictor.model.source_alphabet)
    ranked = predictor.predict(rows, options)
    lists = [[(one.text, one.log_probability, one.confidence) for one in predictions] for predictions in ranked]
    alignments = predictor.alignment_texts(rows, ranked) if alignment else None
    _print_ranked(("prediction", "log_probability", "confidence"), rows, lists, unknown, alignments)
    _mention_unsure(sum(row[0].confidence < at_least for row in ranked), len(ranked), options)


def match(
    sources: Annotated[list[str], _sources("Sources whose counterparts are wanted.")],
    among: Annotated[Path, typer.Option(help="File with a target per line, may be .gz; - is standard input.")],
    top: Annotated[int, typer.Option(min=1, help="Targets per source.")] = 5,
) -> None:
    """Write a TSV of source, rank, target, similarity and unknown symbols: the most likely counterparts in a list."""
    from pipeline.prediction.sources import among_file, from_arguments, targets_among, unknown_symbols, usable

    given = usable(from_arguments(sources))
    among_file(among)
    from pipeline.matcher.network import MATCHER_FOLDER, Index, Matcher

    matcher = Matcher.load(MATCHER_FOLDER)
    targets = targets_among(among, matcher.alphabet.target.kind)
    unknown = unknown_symbols(given, matcher.alphabet.source)
    matches = Index(matcher, targets).search([normal_form(source.text) for source in given], top)
    lists = [[(one.target, one.similarity) for one in row] for row in matches]
    _print_ranked(("target", "similarity"), [source.text.strip() for source in given], lists, unknown)


def serve(
    model: Annotated[str | None, option("models:/..., runs:/... or a folder.", "the registered champion.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5001,
    no_known: Annotated[bool, typer.Option("--no-known", help=NO_KNOWN)] = False,
    corrections: Annotated[
        Path | None, option("File to append corrections of the page to.", "they are downloaded.")
    ] = None,
) -> None:
    """Answer HTTP requests with a model, and a page to try it, on this machine only.

    No code of the model's folder is run.
    """
    from pipeline.config.params import load_params
    from pipeline.serving import application

    application.serve(model or f"models:/{load_params().tracking.model}@champion", port, _known(no_known), corrections)


def export(
    folder: Annotated[Path, typer.Argument(help="A new folder; TensorFlow Serving wants MODEL/1, MODEL/2, ...")],
    n_best: Annotated[int | None, option("Predictions per source.", "the beam width.", min=1, max=100)] = None,
    strategy: Annotated[str | None, option("A trained strategy.", "the best on dev.")] = None,
    seed: Annotated[int | None, option("A trained seed.", "the seed with the highest dev accuracy.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="All seeds, their probabilities averaged.")] = False,
    beam_width: Annotated[
        int | None, option("At least --n-best.", LAST_REPRO, "--beam-width", "--beam", min=1, max=100)
    ] = None,
    model: Annotated[str | None, option("models:/NAME@ALIAS, runs:/... or a folder.", "a run of models/.")] = None,
) -> None:
    """Write a TensorFlow SavedModel that predicts as `tandem predict --order beam`: the network, not the reranker."""
    _one_choice(strategy, seed, ensemble, model)
    if folder.exists():
        raise UserError(f"{folder} exists: name a new folder, or delete that one")
    predictor = _predictor(strategy, seed, ensemble, model, Order.BEAM)
    options = predictor.options(Order.BEAM, beam_width, n_best or 1)
    from pipeline.prediction.export import export_model

    export_model(predictor.model, folder, options.beam_width, n_best or options.beam_width)


def _one_choice(strategy: str | None, seed: int | None, ensemble: bool, model: str | None) -> None:
    """Raise `UserError` if the options name different models."""
    if ensemble and seed is not None:
        raise UserError("give --seed or --ensemble, not both")
    if model and (strategy or ensemble or seed is not None):
        raise UserError("give --model or a run by --strategy, --seed or --ensemble, not both")


def _predictor(
    strategy: str | None, seed: int | None, ensemble: bool, model: str | None, order: Order | None, few: bool = False
) -> "Predictor":
    """The predictor of the options. few: whether it is for at most `FEW` sources."""
    from pipeline.runs.groups import RunGroup

    group = None if model else RunGroup.choose(strategy, seed, ensemble)
    from pipeline.model.inference import TrainedModel
    from pipeline.model.plain import PlainModel

    kind = PlainModel if few else TrainedModel
    if group is None:
        from pipeline.tracking.models import load_model

        return load_model(str(model), kind).predictor
    from pipeline.prediction.predictor import Predictor, load_trained

    return Predictor.of_runs(group, order, load_trained(group, kind=kind))


@contextmanager
def _bundle(model: str | None, group: "RunGroup | None", order: Order | None) -> Iterator[Path]:
    from pipeline.prediction.bundle import write_bundle
    from pipeline.tracking.models import model_bundle

    with model_bundle(model) if model else TemporaryDirectory() as place:
        bundle = Path(place)
        if group:
            write_bundle(bundle, group, order)
        yield bundle


def _known(left_out: bool) -> "Known":
    from pipeline.prediction.known import load_known

    return {} if left_out else load_known()


def _mention_unsure(unsure: int, sources: int, options: "PredictionOptions") -> None:
    if options.at_least:
        left = "copied" if options.copy else "left empty"
        note = "%s of %s sources (%.1f%%) are %s: the confidence of their first prediction is below %g"
        log.info(note, f"{unsure:,}", f"{sources:,}", 100 * unsure / max(sources, 1), left, options.at_least)


def _print_ranked(
    columns: tuple[str, ...],
    sources: Sequence[str],
    lists: Iterable[Iterable[tuple[Any, ...]]],
    unknown: Sequence[str],
    alignments: Sequence[Sequence[str]] | None = None,
) -> None:
    """Print a TSV: for each source a row for each text of its list, with numbers about the text."""
    print("source", "rank", *columns, "unknown", *(["alignment"] if alignments else []), sep="\t")
    for number, (source, texts, symbols) in enumerate(zip(sources, lists, unknown, strict=True)):
        for rank, (text, *numbers) in enumerate(texts, start=1):
            last = [alignments[number][rank - 1]] if alignments else []
            print(cell(source), rank, cell(text), *(f"{one:.4f}" for one in numbers), symbols, *last, sep="\t")
