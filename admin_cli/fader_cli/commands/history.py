"""``history``: who changed what, when, why."""

from typing import Final

import click

from fader_cli.api import path_of
from fader_cli.options import complete_flags, complete_segments, with_session
from fader_cli.render import show_changes
from fader_cli.session import Session


@click.command()
@click.argument("flag", required=False, metavar="[FLAG]", shell_complete=complete_flags)
@click.option("--segment", metavar="NAME", shell_complete=complete_segments, help="Of a segment instead of a flag.")
@click.option(
    "-n", "--number", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, at most."
)
@with_session(environment=True)
def history(session: Session, flag: str | None, segment: str | None, number: int) -> None:
    """Who changed what, when and why, newest first.

    Of a flag, of a segment, or of everything.
    """
    path = path_of("projects", session.project, "changes")
    wanted = session.environment_or_none if session.environment_given else None
    found = session.api.pages(path, most=number, flag=flag, segment=segment, environment=wanted)
    session.emit(found, lambda: show_changes(session, found))


COMMANDS: Final = (history,)
