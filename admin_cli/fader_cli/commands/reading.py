"""What there is: ``list`` and ``show``."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from fader_cli.api import path_of
from fader_cli.options import flag_argument, with_session
from fader_cli.render import show_flag, show_flags
from fader_cli.session import Session


@click.command("list")
@click.option("--archived", is_flag=True, help="The archived ones instead.")
@click.option("-s", "--search", metavar="TEXT", help="Those in whose key, description or owner this occurs.")
@with_session()
def list_flags(session: Session, archived: bool, search: str | None) -> None:
    """All flags, and how they are in each environment."""
    path = path_of("projects", session.project, "flags")
    found = session.api.pages(path, archived=archived, search=search)
    session.emit(found, lambda: show_flags(session, found, archived=archived))


@click.command()
@flag_argument
@with_session(environment=True)
def show(session: Session, flag: str) -> None:
    """All about a flag: its rules, its use, its last changes.

    In all environments, or in one with -e.
    """
    path = path_of("projects", session.project, "flags", flag)
    found = session.api.get(path)
    if session.environment_given:
        session.require_environment(found["environments"])
    usage = session.api.get(f"{path}/usage", hours=24)
    changes = session.api.pages(path_of("projects", session.project, "changes"), most=5, flag=flag)
    compatibility = {
        name: session.api.get(
            path_of("projects", session.project, "flags", flag, "environments", name, "compatibility")
        )
        for name in _shown(session, found)
    }
    ramps = {
        name: session.api.get(path_of("projects", session.project, "flags", flag, "environments", name, "ramp"))
        for name, configuration in found["environments"].items()
        if configuration["ramp"] is not None
    }
    document = found | {"usage": usage, "changes": changes, "compatibility": compatibility, "ramps": ramps}
    session.emit(document, lambda: show_flag(session, document))


def _shown(session: Session, flag: Mapping[str, Any]) -> Iterable[str]:
    """The environments of which something is told that clients see: none, if no client sees the flag."""
    if flag["archived_at"]:
        return ()
    return (session.environment,) if session.environment_given else flag["environments"]


COMMANDS: Final = (list_flags, show)
