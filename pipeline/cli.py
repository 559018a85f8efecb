"""The command `tandem`: use what the last `dvc repro` left on disk."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import UserError, explain_user_errors

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

METRICS = Path("reports/metrics.json")
STANDARD_INPUT = Path("/dev/stdin")


@app.callback()
def _group() -> None:
    """Keep `tandem predict` a subcommand, however many there are."""


@app.command()
def predict(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources; none: one per line of --input.")] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="File with a source per line, may be .gz; - is standard input.")
    ] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 1,
    beam: Annotated[int, typer.Option(min=1, max=100, help="Beginnings kept while searching; 1 is greedy.")] = 5,
    strategy: Annotated[str, typer.Option(help="supervised, two_stage or tandem.")] = "tandem",
    seed: Annotated[int | None, typer.Option(help="Default: the seed with the highest dev accuracy.")] = None,
) -> None:
    """Write a TSV of source, rank, prediction and log probability to standard output."""
    if sources and input_file:
        raise UserError("give sources on the command line or --input, not both")
    rows = list(_checked(sources)) if sources else _read_sources(input_file)
    from pipeline.inference import TrainedModel  # takes seconds, which a wrong call need not wait for

    model = TrainedModel.load(_choose_run(strategy, seed))
    print("source", "rank", "prediction", "log_probability", sep="\t")
    for source, predictions in zip(rows, model.predict(rows, n_best, beam), strict=True):
        for rank, prediction in enumerate(predictions, start=1):
            print(source, rank, prediction.text, f"{prediction.log_probability:.4f}", sep="\t")


@app.command()
def match(
    sources: Annotated[list[str], typer.Argument(help="Sources whose counterparts are wanted.")],
    among: Annotated[Path, typer.Option(help="File with a target per line, may be .gz; - is standard input.")],
    top: Annotated[int, typer.Option(min=1, help="Targets per source.")] = 5,
) -> None:
    """Write a TSV of source, rank, target and similarity to standard output: the most likely counterparts in a list."""
    rows = list(_checked(sources))
    from pipeline.corpus import read_targets
    from pipeline.matcher import FOLDER, Index, Matcher

    matcher = Matcher.load(FOLDER)
    file = STANDARD_INPUT if among == Path("-") else among
    targets = read_targets(file, matcher.alphabet.target.kind, max_symbols=10_000)
    if not targets:
        raise UserError(f"{among} is empty: --among needs at least one target to choose from")
    index = Index(matcher, targets)
    print("source", "rank", "target", "similarity", sep="\t")
    for source, matches in zip(rows, index.search(rows, top), strict=True):
        for rank, found in enumerate(matches, start=1):
            print(source, rank, found.target, f"{found.similarity:.4f}", sep="\t")


@app.command()
def compare() -> None:
    """Print the comparison that the last `dvc repro` made."""
    from pipeline.comparison import table, verdict

    try:
        metrics = json.loads(METRICS.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"no comparison in {METRICS} ({error}): run `dvc repro`") from error
    print(f"{table(metrics)}\n\n{verdict(metrics)}")


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow UI for the store in use, on this machine only."""
    from pipeline.config import load_params
    from pipeline.connection import is_server, project_root, runs_page, tracking_uri, ui_command

    root, experiment = project_root(), load_params().tracking.experiment
    if is_server(tracking_uri(root)):
        print(f"the tracking server has its own UI: {ui_command(root)}")
        return
    page = runs_page(root, experiment)
    command = [sys.executable, "-m", *shlex.split(ui_command(root)), "--port", str(port)]
    print(f"open http://127.0.0.1:{port}{page}", flush=True)
    raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603


def main() -> None:
    """Run the command line; mistakes of the user end in a sentence and exit code 2."""
    explain_user_errors(app)()


def _checked(sources: list[str]) -> Iterator[str]:
    for number, source in enumerate(sources, start=1):
        if not source.strip():
            raise UserError(f"source {number} is empty")
        if any(control in source for control in "\t\n\r\0"):
            raise UserError(f"source {number}, {source!r}, has a tab, line break or NUL in it")
        yield source


def _read_sources(path: Path | None) -> list[str]:
    from pipeline.alphabet import Symbols
    from pipeline.corpus import read_targets

    if path is None and sys.stdin.isatty():
        raise UserError('give sources, e.g. tandem predict "F AO R K", or --input FILE, or pipe them in')
    file = STANDARD_INPUT if path in (None, Path("-")) else path
    return read_targets(file, Symbols.CHARACTERS, max_symbols=10_000)


def _choose_run(strategy: str, seed: int | None) -> Path:
    from pipeline.runs import Record
    from pipeline.strategies import MODELS

    folder = MODELS / strategy
    runs = sorted(path for path in folder.glob("*") if path.is_dir())
    if not runs:
        there = ", ".join(sorted(path.name for path in MODELS.glob("*"))) or "none"
        raise UserError(f"no trained run of strategy '{strategy}' in {MODELS} (there: {there}): run `dvc repro`")
    if seed is None:
        return max(runs, key=lambda run: Record.load(run).dev_word_accuracy)
    if folder / str(seed) not in runs:
        there = ", ".join(path.name for path in runs)
        raise UserError(f"no run of strategy '{strategy}' with seed {seed} in {MODELS} (there: {there})")
    return folder / str(seed)


if __name__ == "__main__":
    main()
