"""``clients``: the processes that evaluate flags, and what each of them evaluates with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
import msgspec
from msgspec import Struct
from rich.markup import escape

from fader_cli.acknowledgements import Acknowledgements, plain, remarks, short_instance
from fader_cli.api import path_of
from fader_cli.options import with_session
from fader_cli.render import ago, table
from fader_cli.session import Session

_STATES: Final = ("connected", "starting", "refused", "lost")
_STYLES: Final = {"connected": "on", "starting": "quiet", "refused": "off", "lost": "hint"}


class _Client(Struct, frozen=True, kw_only=True):
    """A process, as the server lists it."""

    app: str
    host: str
    instance: str
    sdk: str
    sdk_version: str
    transport: str
    state: str
    epoch: str | None = None
    revision: int | None
    since: str
    last_heard: str
    error: str = ""


@click.command()
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--behind", is_flag=True, help="Only those that do not have the newest revision.")
@click.option("-n", "--number", type=click.IntRange(1, 100_000), default=500, show_default=True, help="At most.")
@with_session(environment=True)
def clients(session: Session, state: str | None, behind: bool, number: int) -> None:
    """SDK processes, and the revision that each evaluates with."""
    where = path_of("projects", session.project, "environments", session.environment)
    known = session.api.get(f"{where}/acknowledgements")
    newest = known["revision"] if behind else None
    found = session.api.pages(f"{where}/clients", most=number, state=state, before=newest)
    session.emit(found, lambda: _show(session, msgspec.convert(known, Acknowledgements), found))
    if len(found) == number:
        session.notes.print(f"[quiet]these are the first {number:,}; -n says how many[/]")


def _show(session: Session, known: Acknowledgements, found: Sequence[Mapping[str, Any]]) -> None:
    session.out.print(f"[key]{escape(known.environment)}[/] is at revision {known.revision}: {_summary(known)}")
    for remark in remarks(known):
        session.out.print(f"[quiet]{escape(remark)}[/]")
    if not found:
        return
    made = table("APP", "HOST", "INSTANCE", "SDK", "REVISION", "STATE", "SINCE", "HEARD")
    for one in msgspec.convert(found, list[_Client]):
        made.add_row(
            escape(plain(one.app)),
            escape(plain(one.host)),
            escape(short_instance(one)),
            escape(plain(f"{one.sdk} {one.sdk_version}".strip())),
            _revision(one.revision, known.revision),
            _state(one),
            ago(one.since),
            ago(one.last_heard),
        )
    session.out.print(made)


def _summary(known: Acknowledgements) -> str:
    counts = [(known.clients - known.lost + known.starting, "connected")]
    counts += [
        (count, word)
        for count, word in (
            (known.behind, "behind"),
            (known.refused, "refused"),
            (known.lost, "lost"),
            (known.starting, "starting"),
            (known.polling.clients, "polling"),
        )
        if count
    ]
    return " · ".join(f"{count:,} {word}" for count, word in counts)


def _revision(held: int | None, newest: int) -> str:
    if held is None:
        return "[off]none[/]"
    return str(held) if held >= newest else f"[off]{held} ({held - newest})[/]"


def _state(client: _Client) -> str:
    state = "polling" if client.transport == "poll" and client.state == "connected" else client.state
    said = f"[{_STYLES.get(client.state, 'key')}]{escape(state)}[/]"
    return f"{said} [quiet]{escape(plain(client.error))}[/]" if client.error else said


COMMANDS: Final = (clients,)
