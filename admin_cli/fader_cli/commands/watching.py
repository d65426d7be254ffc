"""``watch``: changes as they happen."""

import sys
from typing import Any, Final

import click
import msgspec
from rich.markup import escape

from fader_cli.api import wait_a_moment
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.options import with_session
from fader_cli.render import show_change
from fader_cli.session import Session


@click.command()
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="N", help="End after so many changes.")
@with_session(environment=True)
def watch(session: Session, number: int | None) -> None:
    """Changes as they happen, until Ctrl-C.

    With --json, a document a line.
    """
    wanted = session.environment_or_none if session.environment_given else None
    seen, last, attempt, connected = 0, None, 0, False
    while True:
        try:
            for name, document in session.api.events(
                "/changes/stream", last, project=session.project, environment=wanted
            ):
                if name == "open":
                    if attempt or not connected:
                        where = wanted or "all environments"
                        session.notes.print(
                            f"[quiet]watching {escape(where)} of {escape(session.project)}; Ctrl-C ends it[/]"
                        )
                    attempt, connected = 0, True
                elif name == "change":
                    last = str(document["id"])
                    _show(session, document)
                    seen += 1
                    if seen == number:
                        return
        except CliError as error:
            # What is wrong at the start is for the caller to mend; later on, the server will come back.
            if not connected or error.code is not ExitCode.UNREACHABLE:
                raise
            if attempt == 0:
                session.notes.print(f"[hint]{escape(error.message)}; waiting for it[/]")
        attempt += 1
        wait_a_moment(attempt)


def _show(session: Session, change: dict[str, Any]) -> None:
    if session.as_json:
        sys.stdout.write(msgspec.json.encode(change).decode() + "\n")
        sys.stdout.flush()
        return
    show_change(session, [change])


COMMANDS: Final = (watch,)
