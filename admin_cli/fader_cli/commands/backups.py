"""``backup`` and ``restore``: the database of the server on this machine, also while it runs."""

from pathlib import Path
from typing import Final

import click

from fader_cli.options import yes_option
from fader_cli.server_process import default_database, make_folder_of, require_server, run
from fader_cli.session import Session

_FILE: Final = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
_DB: Final = click.option(
    "--db", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The database's file, as for `serve`."
)


@click.command()
@_FILE
@_DB
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def backup(file: Path, db: Path | None, *, force: bool) -> None:
    """Copy the database of `fader serve`, also while it runs. The copy is whole, and checked."""
    _say(run((db or default_database()).absolute(), "backup", str(file.absolute()), *(["--force"] if force else [])))


@click.command()
@_FILE
@_DB
@yes_option
def restore(file: Path, db: Path | None, *, yes: bool) -> None:
    """Bring the database of `fader serve` back to a backup, also while it runs.

    Applications follow, to the older flags. What was there before is kept beside the database.
    """
    database = (db or default_database()).absolute()
    if database.exists():
        Session().confirm(f"Replace all flags, keys and history in {database}?", yes=yes)
    require_server()
    make_folder_of(database)
    _say(run(database, "restore", str(file.absolute())))


def _say(text: str) -> None:
    for line in text.splitlines():
        Session().out.print(line, markup=False, highlight=False, soft_wrap=True)


COMMANDS: Final = (backup, restore)
