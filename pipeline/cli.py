"""The command `tandem`: use what the last `dvc repro` left on disk."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.config.params import Order
from pipeline.errors import UserError, explain_user_errors
from pipeline.text import check_sources

if TYPE_CHECKING:
    from pipeline.runs.groups import RunGroup

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

STANDARD_INPUT = Path("/dev/stdin")
FEW = 16  # sources: their search takes less time than compiling it
MOST_SYMBOLS = 10_000  # of a row that is read; a model may take fewer


@app.callback()
def _group() -> None:
    """Keep `tandem predict` a subcommand, however many there are."""


@app.command()
def predict(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources; none: one per line of --input.")] = None,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help="File with a source per line, may be .gz; - is standard input. With --output files or a pattern in "
            "quotes, 'shards/*.parquet': .parquet, .tsv or .txt, also .gz.",
        ),
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 1,
    strategy: Annotated[
        str | None,
        typer.Option(help="A trained strategy. Default: tandem, or if untrained the one with the best dev accuracy."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the seed with the highest dev accuracy.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="All seeds, their probabilities averaged.")] = False,
    order: Annotated[
        Order | None, typer.Option(help="How candidates are ranked. Default: as in the last `dvc repro`.")
    ] = None,
    beam_width: Annotated[
        int | None,
        typer.Option(
            "--beam-width", "--beam", min=1, max=100, help="At least --n-best. Default: as in the last `dvc repro`."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="In place of a run of models/: models:/tandem@champion, runs:/... or a folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for a Parquet file for each file of --input. Finished ones are kept.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Column to read, with --output. Default: source, or the first column of a TSV."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="With --output: this process, or all cores. Default: local.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: of a cluster. Default: this machine alone.")
    ] = None,
) -> None:
    """Write a TSV of source, rank, prediction, log probability and confidence to standard output."""
    if sources and input_file:
        raise UserError("give sources on the command line or --input, not both")
    if ensemble and seed is not None:
        raise UserError("give --seed or --ensemble, not both")
    if model and (strategy or ensemble or seed is not None):
        raise UserError("give --model or a run by --strategy, --seed or --ensemble, not both")
    from pipeline.runs.groups import RunGroup  # imports stand where they are needed: a wrong call does not wait

    if output:
        if input_file in (None, Path("-")):
            raise UserError("--output needs --input with the name of a file, or a pattern such as 'shards/*.parquet'")
        if address and engine != "ray":
            raise UserError("--address is that of a Ray cluster: give --engine ray as well")
        chosen = model or RunGroup.choose(strategy, seed, ensemble)
        given = (order, beam_width, n_best)
        _predict_files(str(input_file), output, chosen, given, column, engine == "ray", address)
        return
    if column or engine or address:
        raise UserError("--column, --engine and --address are for prediction into files: give --output as well")
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
    from pipeline.text import cell

    print("source", "rank", "prediction", "log_probability", "confidence", sep="\t")
    for source, predictions in zip(rows, ranked, strict=True):
        for rank, one in enumerate(predictions, start=1):
            numbers = f"{one.log_probability:.4f}", f"{one.confidence:.4f}"
            print(cell(source), rank, cell(one.text), *numbers, sep="\t")


@app.command()
def match(
    sources: Annotated[list[str], typer.Argument(help="Sources whose counterparts are wanted.")],
    among: Annotated[Path, typer.Option(help="File with a target per line, may be .gz; - is standard input.")],
    top: Annotated[int, typer.Option(min=1, help="Targets per source.")] = 5,
) -> None:
    """Write a TSV of source, rank, target and similarity to standard output: the most likely counterparts in a list."""
    check_sources(sources)
    from pipeline.data.corpus import read_targets
    from pipeline.matcher.network import FOLDER, Index, Matcher
    from pipeline.text import cell

    matcher = Matcher.load(FOLDER)
    file = STANDARD_INPUT if among == Path("-") else among
    targets = read_targets(file, matcher.alphabet.target.kind, MOST_SYMBOLS)
    if not targets:
        raise UserError(f"{among} is empty: --among needs at least one target to choose from")
    index = Index(matcher, targets)
    print("source", "rank", "target", "similarity", sep="\t")
    for source, matches in zip(sources, index.search(sources, top), strict=True):
        for rank, match in enumerate(matches, start=1):
            print(cell(source), rank, cell(match.target), f"{match.similarity:.4f}", sep="\t")


@app.command()
def compare() -> None:
    """Print the comparison that the last `dvc repro` made."""
    from pipeline.evaluation.results import EVALUATION, METRICS, load_metrics
    from pipeline.report.tables import table, training_seconds, verdict
    from pipeline.text import printable

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
    from pipeline.evaluation.sizes import FOLDER, collect, save
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
    plot = FOLDER / "sizes.png"
    figure = accuracy_by_pairs(rows, list(params.strategies), params.evaluate.confidence)
    save_figure(figure, plot, "Words right in the test set by pairs to learn from")
    print(f"{sizes_table(rows)}\nThe same as a plot: {plot}. To add it to the report: `dvc repro report`")


@app.command()
def sweep(
    space: Annotated[Path, typer.Option(help="File with strategies, seeds and parameters.")] = Path("sweep.yaml"),
    address: Annotated[
        str | None, typer.Option(help="Ray cluster that sees this folder, HOST:PORT. Default: this machine alone.")
    ] = None,
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
    from pipeline.tracking.client import (
        is_server,
        project_root,
        runs_page,
        tracking_uri,
        without_password,
    )

    root = project_root()
    if is_server(uri := tracking_uri(root)):
        print(f"the tracking server has its own UI: {without_password(uri)}")
        return
    page = runs_page(root, load_params().tracking.experiment)
    place = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *place]
    print(f"open http://127.0.0.1:{port}{page}", flush=True)
    raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603


@app.command()
def serve(
    model: Annotated[
        str | None, typer.Option(help="models:/..., runs:/... or a folder. Default: the registered champion.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5001,
) -> None:
    """Answer HTTP requests with a model, on this machine only. No code of the model's folder is run."""
    from pipeline.config.params import load_params
    from pipeline.serving import application as endpoint

    address = model or f"models:/{load_params().tracking.model}@champion"
    endpoint.serve(address, port)


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


def _predict_files(
    pattern: str,
    output: Path,
    chosen: "RunGroup | str",
    given: tuple[Order | None, int | None, int],
    column: str | None,
    on_ray: bool,
    address: str | None,
) -> None:
    from pipeline.prediction.shards import find_shards

    shards = find_shards(pattern)
    from pipeline.prediction.bundle import write_bundle
    from pipeline.prediction.engines import LocalEngine, RayEngine
    from pipeline.prediction.files import predict_shards
    from pipeline.prediction.options import PredictionOptions
    from pipeline.runs.groups import RerankMetadata
    from pipeline.tracking.models import model_bundle

    engine = RayEngine(address) if on_ray else LocalEngine()
    with ExitStack() as stack:
        if isinstance(chosen, str):
            bundle = stack.enter_context(model_bundle(chosen))
        else:
            bundle = Path(stack.enter_context(TemporaryDirectory())) / "bundle"
            write_bundle(bundle, chosen, given[0])
        options = PredictionOptions.resolve(RerankMetadata.load(bundle).decoding, *given)
        print(predict_shards(shards, output, bundle, options, engine, column))


if __name__ == "__main__":
    main()
