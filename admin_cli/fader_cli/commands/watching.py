"""``watch``: changes as they happen, and on a terminal, how they are acknowledged."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import click
import msgspec
from rich.live import Live
from rich.markup import escape

from fader_cli.api import path_of, wait_a_moment
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.options import with_session
from fader_cli.render import show_change
from fader_cli.screen import Numbers, Screen
from fader_cli.session import Session

_PATIENCE: Final = 2.0
"""Seconds that an answer may take while changes wait to be shown."""


class _Watching(Protocol):
    """What is done with what is heard."""

    asks: dict[str, Any]
    """What is asked for beside changes."""

    def opened(self) -> None:
        """The server tells us from now on."""

    def hear(self, name: str, document: dict[str, Any]) -> None:
        """An event."""

    def lost(self, error: CliError) -> None:
        """The server is away."""


@click.command()
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="N", help="End after so many changes.")
@with_session(environment=True)
def watch(session: Session, number: int | None) -> None:
    """Changes as they happen, until Ctrl-C.

    On a terminal, one screen: how many SDKs have applied the newest change, who comes and goes, what was changed.
    Elsewhere, and with -n, changes alone, as lines; with --json, a document a line.
    """
    wanted = session.environment_or_none if session.environment_given else None
    title = f"{wanted or 'all environments'} of {session.project}"
    if session.is_animated and not session.as_json and number is None:
        with _on_screen(session, wanted, title) as watching:
            _follow(session, wanted, watching, None)
    else:
        _follow(session, wanted, _Lines(session, title), number)


def _follow(session: Session, wanted: str | None, watching: _Watching, number: int | None) -> None:
    seen, last, attempt, connected = 0, None, 0, False
    while True:
        try:
            for name, document in session.api.events(
                "/changes/stream", last, project=session.project, environment=wanted, **watching.asks
            ):
                if name == "open":
                    if attempt or not connected:
                        watching.opened()
                    attempt, connected = 0, True
                    continue
                watching.hear(name, document)
                if name == "change":
                    last = str(document["id"])
                    seen += 1
                    if seen == number:
                        return
        except CliError as error:
            # What is wrong at the start is for the caller to mend; later on, the server will come back.
            if not connected or error.code is not ExitCode.UNREACHABLE:
                raise
            if attempt == 0:
                watching.lost(error)
        attempt += 1
        wait_a_moment(attempt)


class _Lines:
    """Changes alone, one after the other."""

    def __init__(self, session: Session, title: str) -> None:
        self.asks: dict[str, Any] = {}
        self._session = session
        self._title = title

    def opened(self) -> None:
        self._session.notes.print(f"[quiet]watching {escape(self._title)}; Ctrl-C ends it[/]")

    def hear(self, name: str, document: dict[str, Any]) -> None:
        if name != "change":
            return
        if self._session.as_json:
            self._session.emit_line(document)
            return
        show_change(self._session, [document])

    def lost(self, error: CliError) -> None:
        self._session.notes.print(f"[hint]{escape(error.message)}; waiting for it[/]")


class _Live:
    """One screen, drawn anew a few times a second."""

    def __init__(self, session: Session, wanted: str | None, screen: Screen) -> None:
        self.asks: dict[str, Any] = {"clients": True}
        self._session = session
        self._wanted = wanted
        self._screen = screen

    def opened(self) -> None:
        self._screen.trouble("")
        # A server tells of the environments that clients have asked it for. The others are worth a line, too: that
        # nobody is there may be what somebody looks for.
        with suppress(CliError):
            for numbers in self._numbers():
                self._screen.clients(numbers)

    def _numbers(self) -> Iterator[Numbers]:
        api = self._session.api.within(_PATIENCE)
        environments = path_of("projects", self._session.project, "environments")
        known = [self._wanted] if self._wanted else [one["key"] for one in api.pages(environments)]
        for name in known:
            found = api.get(f"{environments}{path_of(name, 'acknowledgements')}")
            yield msgspec.convert(found | {"polling": found["polling"]["clients"]}, Numbers)

    def hear(self, name: str, document: dict[str, Any]) -> None:
        if name == "change":
            self._screen.change(document)
        elif name == "clients":
            self._screen.clients(msgspec.convert(document, Numbers))
        elif name == "client":
            self._screen.client(document)

    def lost(self, error: CliError) -> None:
        self._screen.trouble(error.message)


@contextmanager
def _on_screen(session: Session, wanted: str | None, title: str) -> Iterator[_Watching]:
    screen = Screen(title)
    # On the terminal's other screen, so that afterwards it is as it was.
    with Live(console=session.out, screen=True, get_renderable=lambda: screen, refresh_per_second=5):
        yield _Live(session, wanted, screen)


COMMANDS: Final = (watch,)
