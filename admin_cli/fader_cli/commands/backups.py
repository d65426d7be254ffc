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
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Write a JSON document instead of text for people.")


@click.command()
@_FILE
@_DB
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@_JSON
def backup(file: Path, db: Path | None, *, force: bool, as_json: bool) -> None:
    """Copy the database of `fader serve`, also while it runs.

    The copy is whole, and checked.
    """
    database = (db or default_database()).absolute()
    said = run(database, "backup", str(file.absolute()), *(["--force"] if force else []))
    _write(file, database, said, as_json=as_json)


@click.command()
@_FILE
@_DB
@yes_option
@_JSON
def restore(file: Path, db: Path | None, *, yes: bool, as_json: bool) -> None:
    """Bring `fader serve` back to a backup, also while it runs.

    Applications follow, to the older flags. What was there before is kept beside the database.
    """
    database = (db or default_database()).absolute()
    if database.exists():
        Session().confirm(f"Replace all flags, keys and history in {database}?", yes=yes)
    require_server()
    make_folder_of(database)
    _write(file, database, run(database, "restore", str(file.absolute())), as_json=as_json)


def _write(file: Path, database: Path, said: str, *, as_json: bool) -> None:
    lines = said.splitlines()
    session = Session(as_json=as_json)

    def show() -> None:
        for line in lines:
            session.out.print(line, markup=False, highlight=False, soft_wrap=True)

    session.emit({"file": str(file.absolute()), "database": str(database), "said": lines}, show)


COMMANDS: Final = (backup, restore)
