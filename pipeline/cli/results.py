"""Commands about what was trained: comparisons, sweeps, MLflow and its registry."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import THIS_MACHINE, option
from pipeline.errors import UserError
from pipeline.text import printable


def compare(
    comparisons: Annotated[
        list[str] | None, typer.Argument(help="Folders of finished projects, or ids of MLflow's parent runs.")
    ] = None,
    better: Annotated[str | None, option("With several: whether this strategy", "the first verdict's.")] = None,
    than: Annotated[str | None, option("is better than this one.", "the first verdict's.")] = None,
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
    from pipeline.config.params import load_params
    from pipeline.report.costs import Costs
    from pipeline.report.tables import how_to_read, of_samples, table, verdict

    metrics = load_metrics()
    try:
        text = f"{table(metrics, Costs.load(metrics))}\n{how_to_read(metrics)}\n\n{printable(verdict(metrics))}"
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{EVALUATION / METRICS} is not a comparison by this version: run `dvc repro`") from error
    print(text)
    with contextlib.suppress(UserError):  # whatever params.yaml says now, the comparison stands
        if samples := of_samples(load_params()):
            print(f"\n{printable(samples)}")


def plan(
    difference: Annotated[float, typer.Option(help="Points of word accuracy that should be found.")],
    better: Annotated[str | None, option("A strategy", "the verdict's.")] = None,
    than: Annotated[str | None, option("and the one it is compared with.", "the verdict's.")] = None,
) -> None:
    """How many test items or seeds does it take to find a difference? By the variances of the last `dvc repro`."""
    from pipeline.evaluation.results import load_metrics
    from pipeline.report.plans import plan_text

    print(plan_text(load_metrics(), difference / 100, better, than))


def sizes() -> None:
    """How many pairs are needed? All DVC experiments that differ in prepare.pairs or prepare.sample alone."""
    from pipeline.config.params import load_params
    from pipeline.evaluation.experiments import collect
    from pipeline.evaluation.sizes import SIZES_FOLDER, save
    from pipeline.report.figures import accuracy_by_pairs
    from pipeline.report.figures import save as save_figure
    from pipeline.report.tables import sizes_table, verdict

    (rows, over_samples), params = collect(), load_params()
    if rows["pairs"].nunique() < 2 and not over_samples:
        raise UserError(
            "there are no comparisons with different numbers or samples of pairs: "
            "run `dvc exp run --queue -S prepare.pairs=100,250,500,1000`, or "
            "`dvc exp run --queue -S prepare.resamples=3 -S prepare.sample=0,1,2`, and `dvc exp run --run-all`"
        )
    save(rows, over_samples, params)
    plot = SIZES_FOLDER / "sizes.png"
    figure = accuracy_by_pairs(rows, list(params.strategies), params.evaluate.confidence)
    save_figure(figure, plot, "Words right in the test set by pairs to learn from")
    print(sizes_table(rows))
    for metrics in over_samples.values():
        print(f"{printable(verdict(metrics))}\n")
    print(f"The same as a plot: {plot}. To add it to the report: `dvc repro report`")


def sweep(
    space: Annotated[Path, typer.Option(help="File with strategies, seeds and parameters.")] = Path("sweep.yaml"),
    address: Annotated[str | None, option("HOST:PORT of a Ray cluster that sees this folder.", THIS_MACHINE)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the best parameters into params.yaml.")] = False,
) -> None:
    """Train strategies with many combinations of parameters and rank them; an interrupted sweep continues."""
    from pipeline.config.params import PARAMS, load_params
    from pipeline.stages import end_on_sigterm
    from pipeline.tracking.client import project_root

    params = load_params()
    from pipeline.sweeps.space import read_space

    read_space(space, params)  # a mistake in it does not wait for the import of Ray
    try:
        from pipeline.sweeps import sweep as sweeps
    except ImportError as error:
        raise UserError(f"tandem sweep needs Ray ({error}): python -m pip install '.[cluster]'") from error
    end_on_sigterm()
    print(sweeps.sweep(space, params, project_root(), address, PARAMS if apply else None))


def publish() -> None:
    """Add to MLflow what it lacks of the comparison in models/ and reports/; every `dvc repro` ends with this."""
    from pipeline.config.params import load_params
    from pipeline.tracking import publish as publication

    if not publication.publish(load_params()):
        raise SystemExit(1)
    print("MLflow has all of the comparison")


def rollback() -> None:
    """Make the model before the champion the champion again; once more undoes it."""
    from pipeline.config.params import load_params
    from pipeline.tracking import registry

    print(registry.rollback(load_params().tracking.model))


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
