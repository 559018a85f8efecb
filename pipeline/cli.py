"""The command `tandem`: use what the last `dvc repro` left on disk."""

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
from pipeline.text import cell, check_sources, printable

if TYPE_CHECKING:
    from pipeline.runs.groups import RunGroup

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

STANDARD_INPUT = Path("/dev/stdin")
FEW = 16  # sources: their search takes less time than compiling it
MOST_SYMBOLS = 10_000  # of a row that is read; a model may take fewer

INPUT = (
    "File with a source per line, may be .gz; - is standard input. With --output files or a pattern in quotes, "
    "'shards/*.parquet': .parquet, .tsv or .txt, also .gz."
)
LAST_REPRO, THIS_MACHINE = "as in the last `dvc repro`.", "this machine alone."


def _option(text: str, default: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=f"{text} Default: {default}", **limits)


@app.command()
def predict(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources; none: one per line of --input.")] = None,
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
    column: Annotated[str | None, _option("Column, with --output.", "source, or the first one of a TSV.")] = None,
    engine: Annotated[Literal["local", "ray"] | None, _option("With --output; ray uses all cores.", "local.")] = None,
    address: Annotated[str | None, _option("With --engine ray: of a cluster.", THIS_MACHINE)] = None,
) -> None:
    """Write a TSV of source, rank, prediction, log probability and confidence to standard output."""
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
    if not output and (column or engine or address):
        raise UserError("--column, --engine and --address are for prediction into files: give --output as well")
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
            options = PredictionOptions.resolve(RerankMetadata.load(bundle).decoding, order, beam_width, n_best)
            runner = partial(run_on_ray, address=address) if engine == "ray" else run_here
            print(predict_shards(shards, output, bundle, options, runner, column))
        return
    check_sources(sources or [])
    rows = sources or _read_sources(input_file)
    if model:
        from pipeline.tracking.models import load_model

        predictor = load_model(model).predictor
    else:
        group = RunGroup.choose(strategy, seed, ensemble)
        from pipeline.prediction.predictor import Predictor

        predictor = Predictor.of_runs(group, order)
    options = predictor.options(order, beam_width, n_best)
    ranked = predictor.predict(rows, options, compiled=len(rows) > FEW)
    lists = [[(one.text, one.log_probability, one.confidence) for one in predictions] for predictions in ranked]
    _print_ranked(("prediction", "log_probability", "confidence"), rows, lists)


@app.command()
def match(
    sources: Annotated[list[str], typer.Argument(help="Sources whose counterparts are wanted.")],
    among: Annotated[Path, typer.Option(help="File with a target per line, may be .gz; - is standard input.")],
    top: Annotated[int, typer.Option(min=1, help="Targets per source.")] = 5,
) -> None:
    """Write a TSV of source, rank, target and similarity to standard output: the most likely counterparts in a list."""
    check_sources(sources)
    from pipeline.data.corpus import read_targets
    from pipeline.matcher.network import MATCHER_FOLDER, Index, Matcher

    matcher = Matcher.load(MATCHER_FOLDER)
    file = STANDARD_INPUT if among == Path("-") else among
    targets = read_targets(file, matcher.alphabet.target.kind, MOST_SYMBOLS)
    if not targets:
        raise UserError(f"{among} is empty: --among needs at least one target to choose from")
    lists = [[(one.target, one.similarity) for one in row] for row in Index(matcher, targets).search(sources, top)]
    _print_ranked(("target", "similarity"), sources, lists)


@app.command()
def compare() -> None:
    """Print the comparison that the last `dvc repro` made."""
    from pipeline.evaluation.results import EVALUATION, METRICS, load_metrics
    from pipeline.report.tables import table, training_seconds, verdict

    metrics = load_metrics()
    try:
        text = f"{table(metrics, training_seconds(metrics))}\n{printable(verdict(metrics))}"
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{EVALUATION / METRICS} is not a comparison by this version: run `dvc repro`") from error
    print(text)


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
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow UI for the store in use, on this machine only."""
    from pipeline.config.params import load_params
    from pipeline.tracking import client

    root = client.project_root()
    if client.is_server(uri := client.tracking_uri(root)):
        print(f"the tracking server has its own UI: {client.without_password(uri)}")
        return
    from pipeline.tracking.ui import serve_ui

    serve_ui(root, load_params().tracking.experiment, port)


@app.command()
def serve(
    model: Annotated[str | None, _option("models:/..., runs:/... or a folder.", "the registered champion.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5001,
) -> None:
    """Answer HTTP requests with a model, on this machine only. No code of the model's folder is run."""
    from pipeline.config.params import load_params
    from pipeline.serving import application

    application.serve(model or f"models:/{load_params().tracking.model}@champion", port)


def main() -> None:
    """Run the command line; mistakes of the user end in a sentence and exit code 2."""
    explain_user_errors(app)()


def _read_sources(path: Path | None) -> list[str]:
    from pipeline.config.options import Symbols
    from pipeline.data.raw import read_rows

    if path is None and sys.stdin.isatty():
        raise UserError('give sources, e.g. tandem predict "F AO R K", or --input FILE, or pipe them in')
    file = STANDARD_INPUT if path in (None, Path("-")) else path
    return [source for (source,) in read_rows(file, {"source": Symbols.CHARACTERS}, MOST_SYMBOLS, None)]


@contextmanager
def _bundle(model: str | None, group: "RunGroup | None", order: Order | None) -> Iterator[Path]:
    from pipeline.prediction.bundle import write_bundle
    from pipeline.tracking.models import model_bundle

    with model_bundle(model) if model else TemporaryDirectory() as place:
        bundle = Path(place)
        if group:
            write_bundle(bundle, group, order)
        yield bundle


def _print_ranked(columns: tuple[str, ...], sources: Sequence[str], lists: Iterable[Iterable[tuple[Any, ...]]]) -> None:
    """Print a TSV: for each source a row for each text of its list, with numbers about the text."""
    print("source", "rank", *columns, sep="\t")
    for source, texts in zip(sources, lists, strict=True):
        for rank, (text, *numbers) in enumerate(texts, start=1):
            print(cell(source), rank, cell(text), *(f"{number:.4f}" for number in numbers), sep="\t")


if __name__ == "__main__":
    main()
