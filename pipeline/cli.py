"""The command `tandem`: use what the last `dvc repro` left on disk."""

import dataclasses
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipeline.config.params import Order
from pipeline.errors import UserError, explain_user_errors
from pipeline.text import cell, normal_form, printable

if TYPE_CHECKING:
    from pipeline.prediction.known import Known
    from pipeline.prediction.predictor import PredictionOptions
    from pipeline.runs.groups import RunGroup

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

FEW = 16  # sources: their search takes less time than compiling it

INPUT = (
    "File with a source per line (also .gz, .bz2, .xz), TSV or Parquet file, or a pattern in quotes, "
    "'shards/*.parquet'; - is standard input."
)
NO_KNOWN = "Ask the model even for sources whose targets are in data/known.tsv."
LAST_REPRO, THIS_MACHINE = "as in the last `dvc repro`.", "this machine alone."
FOUND_OUT = "what the files show."

log = logging.getLogger(__name__)


def _option(text: str, default: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=f"{text} Default: {default}", **limits)


def _sources(text: str) -> Any:
    return typer.Argument(help=text, parser=_as_utf_8)


def _as_utf_8(argument: str) -> str:
    """The text of an argument whose bytes are UTF-8, even if Python decoded them as the locale says."""
    try:
        return os.fsencode(argument).decode()
    except UnicodeError:
        return argument


@app.command()
def predict(
    sources: Annotated[list[str] | None, _sources("Sources; none: one per line of --input.")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help=INPUT)] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 1,
    strategy: Annotated[str | None, _option("A trained strategy.", "tandem, or else the best on dev.")] = None,
    seed: Annotated[int | None, _option("A trained seed.", "the seed with the highest dev accuracy.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="All seeds, their probabilities averaged.")] = False,
    order: Annotated[Order | None, _option("How candidates are ranked.", LAST_REPRO)] = None,
    beam_width: Annotated[
        int | None, _option("At least --n-best.", LAST_REPRO, "--beam-width", "--beam", min=1, max=100)
    ] = None,
    model: Annotated[str | None, _option("models:/NAME@ALIAS, runs:/... or a folder.", "a run of models/.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for Parquet files, one for each of --input.")] = None,
    column: Annotated[str | None, _option("Column of --input.", "source, or the first one of a TSV.")] = None,
    engine: Annotated[Literal["local", "ray"] | None, _option("With --output; ray uses all cores.", "local.")] = None,
    address: Annotated[str | None, _option("With --engine ray: of a cluster.", THIS_MACHINE)] = None,
    no_known: Annotated[bool, typer.Option("--no-known", help=NO_KNOWN)] = False,
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Also: which source symbols each symbol is from.")
    ] = False,
    at_least: Annotated[float, typer.Option(min=0, max=1, help="Confidence of a first prediction that is kept.")] = 0,
    otherwise: Annotated[
        Literal["empty", "copy"] | None, _option("The others are left so.", "empty.", "--else")
    ] = None,
) -> None:
    """Write a TSV of source, rank, prediction, log probability, confidence and unknown symbols to standard output."""
    if sources and input_file:
        raise UserError("give sources on the command line or --input, not both")
    if ensemble and seed is not None:
        raise UserError("give --seed or --ensemble, not both")
    if model and (strategy or ensemble or seed is not None):
        raise UserError("give --model or a run by --strategy, --seed or --ensemble, not both")
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
    from pipeline.runs.groups import RunGroup  # imports stand where they are needed: a wrong call does not wait

    if output:
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
    if model:
        from pipeline.tracking.models import load_model

        predictor = load_model(model).predictor
    else:
        group = RunGroup.choose(strategy, seed, ensemble)
        from pipeline.prediction.predictor import Predictor

        predictor = Predictor.of_runs(group, order)
    predictor = dataclasses.replace(predictor, known=_known(no_known))
    options = predictor.options(order, beam_width, n_best, **shown)
    given = usable(given, predictor.length_fault)
    rows = [source.text.strip() for source in given]
    unknown = unknown_symbols(given, predictor.model.source_alphabet)
    ranked = predictor.predict(rows, options, compiled=len(rows) > FEW)
    lists = [[(one.text, one.log_probability, one.confidence) for one in predictions] for predictions in ranked]
    alignments = predictor.alignment_texts(rows, ranked) if alignment else None
    _print_ranked(("prediction", "log_probability", "confidence"), rows, lists, unknown, alignments)
    _mention_unsure(sum(row[0].confidence < at_least for row in ranked), len(ranked), options)


@app.command()
def match(
    sources: Annotated[list[str], _sources("Sources whose counterparts are wanted.")],
    among: Annotated[Path, typer.Option(help="File with a target per line, may be .gz; - is standard input.")],
    top: Annotated[int, typer.Option(min=1, help="Targets per source.")] = 5,
) -> None:
    """Write a TSV of source, rank, target, similarity and unknown symbols: the most likely counterparts in a list."""
    from pipeline.prediction.sources import from_arguments, targets_among, unknown_symbols, usable

    given = usable(from_arguments(sources))
    from pipeline.matcher.network import MATCHER_FOLDER, Index, Matcher

    matcher = Matcher.load(MATCHER_FOLDER)
    targets = targets_among(among, matcher.alphabet.target.kind)
    unknown = unknown_symbols(given, matcher.alphabet.source)
    matches = Index(matcher, targets).search([normal_form(source.text) for source in given], top)
    lists = [[(one.target, one.similarity) for one in row] for row in matches]
    _print_ranked(("target", "similarity"), [source.text.strip() for source in given], lists, unknown)


@app.command()
def init(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Pairs, perhaps dev and test, and lists, in any order.")
    ] = None,
    pairs: Annotated[Path | None, _option("File of pairs.", FOUND_OUT)] = None,
    dev: Annotated[
        Path | None, _option("File of pairs for dev.", "that with dev in its name, or a part of the pairs.")
    ] = None,
    test: Annotated[Path | None, _option("File of pairs for test.", "likewise.")] = None,
    targets: Annotated[Path | None, _option("File of unpaired targets.", FOUND_OUT)] = None,
    sources: Annotated[Path | None, _option("File of unpaired sources.", FOUND_OUT)] = None,
    columns: Annotated[str | None, _option("Those of source and target, by name or number: 2,1.", FOUND_OUT)] = None,
    encoding: Annotated[str | None, _option("Of all files.", "UTF-8 or UTF-16, as they are.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only look at the files.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Overwrite without asking; copies are kept.")] = False,
) -> None:
    """Set the project up for your files: look at them, copy them to data/raw, and write their part of params.yaml."""
    from pipeline.annotation import setup
    from pipeline.config.params import load_params

    params = load_params()
    roles = {"pairs": pairs, "dev": dev, "test": test, "targets": targets, "sources": sources}
    plan = setup.plan(files or [], {role: path for role, path in roles.items() if path}, params, encoding, columns)
    print("\n".join(plan.lines))
    for note in plan.notes:
        log.warning("%s", note)
    lost = plan.overwritten(params)
    if check:
        return
    if lost and not yes:
        question = f"this overwrites {', '.join(lost)}"
        if not sys.stdin.isatty():
            raise UserError(
                f"{question}: nothing was written. Say --yes if that is right; copies of the files are kept"
            )
        typer.confirm(f"{question}; copies of the files are kept. Go on?", abort=True)
    print("\n".join(plan.apply() or ["nothing has changed since the last `tandem init`"]))
    print("next: `dvc repro`, then `tandem compare`")


@app.command()
def suggest(
    among: Annotated[
        Path, typer.Option(help="File with a source per line, perhaps with counts, or repeated as often.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Sources.")] = 50,
    output: Annotated[Path | None, _option("File for the sheet.", "standard output.")] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 3,
    strategy: Annotated[str | None, _option("A trained strategy.", "tandem, or else the best on dev.")] = None,
) -> None:
    """Write a sheet (TSV) of the sources whose annotation would teach most, filled in with predictions to correct."""
    from pipeline.runs.groups import RunGroup

    group = RunGroup.choose(strategy, ensemble=True)
    if output and output.exists():
        raise UserError(f"{output} exists, and may have corrections in it: name another --output")
    from pipeline.annotation.pool import annotated, read_pool
    from pipeline.annotation.sheet import sheet_of
    from pipeline.annotation.suggest import suggest as suggested
    from pipeline.config.params import load_params
    from pipeline.prediction.predictor import Predictor

    predictor = Predictor.of_runs(group)
    pool = read_pool(among, predictor)
    sheet = sheet_of(suggested(predictor, pool, annotated(load_params()), count, n_best))
    if output is None:
        print(sheet, end="")
    else:
        output.write_text(sheet, encoding="utf-8")
        print(f"{output}: correct column target, put an x into column ok where it is right, then `tandem add {output}`")


@app.command()
def add(
    corrected: Annotated[Path, typer.Argument(help="Sheet of `tandem suggest`, or a file of sources and targets.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="A source's new target takes the place of others.")
    ] = False,
    keep_both: Annotated[bool, typer.Option("--keep-both", help="A source's new target joins others.")] = False,
    unchanged: Annotated[bool, typer.Option("--unchanged", help="Rows that are as predicted are right, too.")] = False,
    fix_split: Annotated[
        bool, typer.Option("--fix-split", help="Make files of dev and test, as they are split off the pairs now.")
    ] = False,
) -> None:
    """Add corrected pairs to the pairs to learn from, and predict them so from now on."""
    if replace and keep_both:
        raise UserError("give --replace or --keep-both, not both")
    from pipeline.annotation.corrections import Conflicts
    from pipeline.annotation.corrections import add as add_corrections
    from pipeline.annotation.sheet import read_sheet
    from pipeline.config.params import load_params

    params = load_params()
    corrections, notes = read_sheet(corrected, params, unchanged)
    conflicts = Conflicts.REPLACE if replace else Conflicts.KEEP_BOTH if keep_both else Conflicts.REFUSE
    done, further = add_corrections(corrections, params, conflicts, fix_split) if corrections else ([], [])
    print("\n".join(done or ["there is nothing to add"]))
    for note in (*notes, *further):
        log.warning("%s", note)


@app.command()
def compare(
    comparisons: Annotated[
        list[str] | None, typer.Argument(help="Folders of finished projects, or ids of MLflow's parent runs.")
    ] = None,
    better: Annotated[str | None, _option("With several: whether this strategy", "the first verdict's.")] = None,
    than: Annotated[str | None, _option("is better than this one.", "the first verdict's.")] = None,
) -> None:
    """Print the comparison that the last `dvc repro` made; of several, in how many of them a strategy is better."""
    from pipeline.evaluation.results import EVALUATION, METRICS, load_metrics

    if comparisons:
        from pipeline.tracking.comparisons import load_comparisons

        loaded = load_comparisons(comparisons)
        from pipeline.evaluation.replication import Replication
        from pipeline.report.plans import replication_text

        print(replication_text(Replication.of(loaded, better, than)))
        return
    if better or than:
        raise UserError("--better and --than are for several comparisons: name their folders or runs")
    from pipeline.report.costs import Costs
    from pipeline.report.tables import how_to_read, table, verdict

    metrics = load_metrics()
    try:
        text = f"{table(metrics, Costs.load(metrics))}\n{how_to_read(metrics)}\n\n{printable(verdict(metrics))}"
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{EVALUATION / METRICS} is not a comparison by this version: run `dvc repro`") from error
    print(text)


@app.command()
def plan(
    difference: Annotated[float, typer.Option(help="Points of word accuracy that should be found.")],
    better: Annotated[str | None, _option("A strategy", "the verdict's.")] = None,
    than: Annotated[str | None, _option("and the one it is compared with.", "the verdict's.")] = None,
) -> None:
    """How many test items or seeds does it take to find a difference? By the variances of the last `dvc repro`."""
    from pipeline.evaluation.results import load_metrics
    from pipeline.report.plans import plan_text

    print(plan_text(load_metrics(), difference / 100, better, than))


@app.command()
def sizes() -> None:
    """How many pairs are needed? The accuracies of all DVC experiments that differ in prepare.pairs alone."""
    from pipeline.config.params import load_params
    from pipeline.evaluation.sizes import SIZES_FOLDER, collect, save
    from pipeline.report.figures import accuracy_by_pairs
    from pipeline.report.figures import save as save_figure
    from pipeline.report.tables import sizes_table

    rows, params = collect(), load_params()
    if rows["pairs"].nunique() < 2:
        raise UserError(
            "there are no comparisons with different numbers of pairs: "
            "run `dvc exp run --queue -S prepare.pairs=100,250,500,1000` and `dvc exp run --run-all`"
        )
    save(rows, params)
    plot = SIZES_FOLDER / "sizes.png"
    figure = accuracy_by_pairs(rows, list(params.strategies), params.evaluate.confidence)
    save_figure(figure, plot, "Words right in the test set by pairs to learn from")
    print(f"{sizes_table(rows)}\nThe same as a plot: {plot}. To add it to the report: `dvc repro report`")


@app.command()
def sweep(
    space: Annotated[Path, typer.Option(help="File with strategies, seeds and parameters.")] = Path("sweep.yaml"),
    address: Annotated[str | None, _option("HOST:PORT of a Ray cluster that sees this folder.", THIS_MACHINE)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the best parameters into params.yaml.")] = False,
) -> None:
    """Train strategies with many combinations of parameters and rank them; an interrupted sweep continues."""
    from pipeline.config.params import PARAMS, load_params
    from pipeline.stages import end_on_sigterm
    from pipeline.tracking.client import project_root

    try:
        from pipeline.sweeps import sweep as sweeps
    except ImportError as error:
        raise UserError(f"tandem sweep needs Ray ({error}): python -m pip install '.[cluster]'") from error
    end_on_sigterm()
    print(sweeps.sweep(space, load_params(), project_root(), address, PARAMS if apply else None))


@app.command()
def publish() -> None:
    """Add to MLflow what it lacks of the comparison in models/ and reports/; every `dvc repro` ends with this."""
    from pipeline.config.params import load_params
    from pipeline.tracking import publish as publication

    if not publication.publish(load_params()):
        raise SystemExit(1)
    print("MLflow has all of the comparison")


@app.command()
def rollback() -> None:
    """Make the model before the champion the champion again; once more undoes it."""
    from pipeline.config.params import load_params
    from pipeline.tracking import registry

    print(registry.rollback(load_params().tracking.model))


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow UI for the store in use, on this machine only."""
    from pipeline.config.params import load_params
    from pipeline.tracking import client

    root = client.project_root()
    if client.is_server(uri := client.tracking_uri(root)):
        print(f"the tracking server has its own UI: {client.without_password(uri)}")
        return
    from pipeline.tracking.ui import serve_ui

    serve_ui(root, load_params(), port)


@app.command()
def serve(
    model: Annotated[str | None, _option("models:/..., runs:/... or a folder.", "the registered champion.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5001,
    no_known: Annotated[bool, typer.Option("--no-known", help=NO_KNOWN)] = False,
    corrections: Annotated[
        Path | None, _option("File to append corrections of the page to.", "they are downloaded.")
    ] = None,
) -> None:
    """Answer HTTP requests with a model, and a page to try it, on this machine only.

    No code of the model's folder is run.
    """
    from pipeline.config.params import load_params
    from pipeline.serving import application

    application.serve(model or f"models:/{load_params().tracking.model}@champion", port, _known(no_known), corrections)


def main() -> None:
    """Run the command line; mistakes of the user end in a sentence and exit code 2."""
    explain_user_errors(_run, prints_results=True)()


def _run() -> None:
    try:
        app()
    except UserError as error:
        here = Path.cwd()
        if "`dvc repro`" in str(error) and not any((folder / ".git").exists() for folder in (here, *here.parents)):
            raise UserError(f"{error} (after `git init`: {here} is not in a git repository)") from None
        raise


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


if __name__ == "__main__":
    main()
