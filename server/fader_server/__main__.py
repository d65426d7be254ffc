"""The program ``fader-server``: what it can be told on its command line. Everything else it is told by the
environment."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fader_server import __version__
from fader_server.errors import FaderError
from fader_server.settings import SettingsError, read_settings

USAGE: Final = """\
fader-server serve [--workers N]        serve flags
       fader-server migrate [--check | --sql]  bring the database up to date; or only say what that would take
       fader-server backup FILE [--force]      copy a SQLite database, also while servers use it
       fader-server restore FILE               bring a SQLite database back to a backup, also while servers use it
       fader-server renew-epochs               after PostgreSQL was restored: have all SDKs follow it
       fader-server --version
"""

_SETTINGS: Final = (
    "Settings are read from the environment: FADER_HOST, FADER_PORT, DATABASE_URL and others "
    "(docs/reference/settings.md)."
)

_COLLECT_AFTER: Final = 20_000
"""New objects."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 if all went well, 1 if ``migrate --check`` finds something to do, 2 if it was called or set up wrongly, or
        could not do it, 130 if it was interrupted.
    """
    try:
        given = _parser().parse_args(arguments)
    except SystemExit as ending:  # it has said what is wrong, or what was asked for
        return 0 if ending.code is None else int(ending.code)
    # What is logged goes nowhere, unless a command sets up a place for it.
    logging.getLogger().addHandler(logging.NullHandler())
    # Loading modules makes very many objects that stay. To look for garbage after every 700 of them takes a tenth of
    # the time until a server listens.
    gc.set_threshold(_COLLECT_AFTER)
    try:
        return _run(given)
    except KeyboardInterrupt:
        return 130
    except SettingsError as error:
        problems = error.problems
    except (ValueError, FaderError) as error:
        problems = (str(error),)
    for problem in problems:
        print(f"fader-server: {problem}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fader-server", usage=USAGE, epilog=_SETTINGS, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", required=True, prog="fader-server", metavar="COMMAND", help=argparse.SUPPRESS
    )
    commands.add_parser("serve").add_argument(
        "--workers", metavar="N", help="how many processes serve, instead of FADER_WORKERS"
    )
    worker = commands.add_parser("worker")
    for place in ("number", "workers", "link", "listening"):
        worker.add_argument(place, type=int)
    migrate = commands.add_parser("migrate").add_mutually_exclusive_group()
    migrate.add_argument("--check", action="store_true", help="change nothing; exit code 1 if steps are missing")
    migrate.add_argument("--sql", action="store_true", help="change nothing; print the SQL that would be run")
    backup = commands.add_parser("backup")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument("--force", action="store_true", help="replace the file if there is one")
    commands.add_parser("restore").add_argument("file", type=Path, metavar="FILE")
    commands.add_parser("renew-epochs")
    return parser


def _environment(given: argparse.Namespace) -> Mapping[str, str]:
    """With what the command line says instead."""
    workers = given.workers if given.command == "serve" else None
    return os.environ if workers is None else os.environ | {"FADER_WORKERS": workers}


def _run(given: argparse.Namespace) -> int:
    # Each loads what it needs and no more: a wrong call is answered without waiting for all of the server.
    settings = read_settings(_environment(given))
    match given.command:
        case "serve":
            from fader_server.commands.serve import serve

            return serve(settings)
        case "worker":
            from fader_server.commands.worker import work

            return work(
                settings, number=given.number, workers=given.workers, link=given.link, listening=given.listening
            )
        case "migrate":
            from fader_server.commands.migrate import migrate

            return migrate(settings, checks=given.check, prints=given.sql)
        case "backup":
            from fader_server.commands.backup import backup

            return backup(settings, given.file, force=given.force)
        case "restore":
            from fader_server.commands.restore import restore

            return restore(settings, given.file)
        case _:
            from fader_server.commands.renew_epochs import renew_epochs

            return renew_epochs(settings)


if __name__ == "__main__":
    sys.exit(main())
