"""Commands for people's own pairs: set up, ask what to annotate, add what was corrected."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import option
from pipeline.errors import UserError

FOUND_OUT = "what the files show."

log = logging.getLogger(__name__)


def init(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Pairs, perhaps dev and test, and lists, in any order.")
    ] = None,
    pairs: Annotated[Path | None, option("File of pairs.", FOUND_OUT)] = None,
    dev: Annotated[
        Path | None, option("File of pairs for dev.", "that with dev in its name, or a part of the pairs.")
    ] = None,
    test: Annotated[Path | None, option("File of pairs for test.", "likewise.")] = None,
    targets: Annotated[Path | None, option("File of unpaired targets.", FOUND_OUT)] = None,
    sources: Annotated[Path | None, option("File of unpaired sources.", FOUND_OUT)] = None,
    columns: Annotated[str | None, option("Those of source and target, by name or number: 2,1.", FOUND_OUT)] = None,
    encoding: Annotated[str | None, option("Of all files.", "UTF-8 or UTF-16, as they are.")] = None,
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


def suggest(
    among: Annotated[
        Path, typer.Option(help="File with a source per line, perhaps with counts, or repeated as often.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Sources.")] = 50,
    output: Annotated[Path | None, option("File for the sheet.", "standard output.")] = None,
    n_best: Annotated[int, typer.Option(min=1, max=100, help="Predictions per source.")] = 3,
    strategy: Annotated[str | None, option("A trained strategy.", "the best on dev.")] = None,
) -> None:
    """Write a sheet (TSV) of the sources whose annotation would teach most, filled in with predictions to correct."""
    from pipeline.prediction.sources import among_file
    from pipeline.runs.groups import RunGroup

    among_file(among)
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
