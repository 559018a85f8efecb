"""The command `tandem`: use what the last `dvc repro` left on disk."""

from pathlib import Path

import typer

from pipeline.cli.annotation import add, init, suggest
from pipeline.cli.prediction import export, match, predict, serve
from pipeline.cli.results import compare, plan, publish, rollback, sizes, sweep, ui
from pipeline.errors import UserError, explain_user_errors

COMMANDS = (predict, match, serve, export, init, suggest, add, compare, plan, sizes, sweep, publish, rollback, ui)

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in COMMANDS:
    app.command()(command)


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
