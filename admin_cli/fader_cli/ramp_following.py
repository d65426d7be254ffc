"""Following a ramp until it ends: on a terminal a picture that is drawn anew, elsewhere a line for all that is new."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Final, Protocol, Self

import msgspec
from msgspec import Struct
from rich.console import ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from fader_cli.errors import CliError
from fader_cli.ramp_render import ramp_lines
from fader_cli.ramps import WHOLE, Guard, Ramp, odds, state_sentence
from fader_cli.retries import PassingFault
from fader_cli.session import Session
from fader_cli.times import clock

_PAUSE: Final = 1.0
_ANSWER: Final = 10.0
"""Seconds that an answer may take."""

_EFFORT: Final = 10.0
"""A pause is this many times as long as the answer took, if that is longer: many followers cost the server little."""

_LONGEST_PAUSE: Final = 10.0

_NUMBERS_EVERY: Final = 60.0
"""Seconds between two lines about the same guard that say nothing but newer numbers."""


def follow(session: Session, path: str, until: Callable[[Ramp], bool]) -> Ramp:
    """Show how a ramp goes on, until there is nothing more to wait for. While the server is away, so is the news; the
    ramp goes on when it is back.

    Args:
        session: Where to write.
        path: Of the ramp.
        until: Whether this is an end.

    Returns:
        The ramp then.

    Raises:
        CliError: if it cannot be followed any more.
    """
    # What cannot be reached from the start is for the caller to mend, after the usual patience; later on, the server
    # will come back, however long that takes.
    api, first = session.api, ""
    with _shown(session) as show:
        while True:
            began = time.monotonic()
            try:
                document = api.get(path)
            except PassingFault as fault:
                if not first:
                    raise
                show.away(fault)
                time.sleep(max(_PAUSE, fault.retry_after or 0.0))
                continue
            ramp = msgspec.convert(document, Ramp)
            if first not in ("", ramp.id):
                raise CliError(f"{ramp.flag} is in another ramp by now", f"see `fader history {ramp.flag}`")
            api, first = session.api.within(_ANSWER), ramp.id
            show.hear(_Heard(document, ramp))
            if until(ramp):
                return ramp
            time.sleep(min(max(_PAUSE, _EFFORT * (time.monotonic() - began)), _LONGEST_PAUSE))


class _Heard(Struct, frozen=True):
    """How a ramp is now: as the server says it, and as it is read here."""

    document: Any
    ramp: Ramp


class _Show(Protocol):
    """What is done with what is heard."""

    def hear(self, heard: _Heard) -> None:
        """This is how the ramp is now."""

    def away(self, fault: CliError) -> None:
        """The server cannot say at the moment."""


def _shown(session: Session) -> AbstractContextManager[_Show]:
    if session.as_json:
        return nullcontext(_Documents(session))
    return _Picture(session) if session.is_animated else nullcontext(_Lines(session))


def _news(ramp: Ramp) -> tuple[object, ...]:
    """What is worth a line if it is otherwise than before."""
    compared = tuple((guard.id, guard.verdict) for guard in ramp.guards)
    measured = tuple((check.id, check.verdict) for check in ramp.prometheus)
    return ramp.status, ramp.step, ramp.why, ramp.is_approved, compared, measured


class _Documents:
    """A document a line."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: object = None

    def hear(self, heard: _Heard) -> None:
        if _news(heard.ramp) != self._said:
            self._said = _news(heard.ramp)
            self._session.emit_line(heard.document)

    def away(self, fault: CliError) -> None:
        """There is no document to that."""


class _Lines:
    """Lines, for the log of a pipeline."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: object = None
        self._counted: dict[str, tuple[str, float, str]] = {}
        self._measured: dict[str, str] = {}
        self._is_away = False

    def hear(self, heard: _Heard) -> None:
        ramp = heard.ramp
        if self._is_away:
            self._is_away = False
            self._session.notes.print("[quiet]the server is back[/]")
        now = datetime.now().astimezone()
        at = f"[quiet]{clock(now, now)}[/]"
        said = ramp.status, ramp.step, ramp.why
        if said != self._said:
            self._said = said
            why = f": {ramp.why}" if ramp.why else ""
            if not why and ramp.earliest is not None and ramp.earliest > now:
                why = f", until {clock(ramp.earliest, now)} at the earliest"
            self._print(f"{at}  [key]{escape(ramp.flag)}[/] {escape(state_sentence(ramp) + why)}")
        for guard in ramp.guards:
            if ramp.percentage < WHOLE and self._is_worth_a_line(guard) and guard.found != ramp.why:
                evidence = f"; evidence {odds(guard.e_value)} of {odds(guard.threshold)}"
                self._print(f"{at}  [quiet]{escape(f'{guard.found}{evidence}: {guard.verdict}')}[/]")
        for check in ramp.prometheus:
            if self._measured.get(check.id, "ok") != check.verdict:
                value = "" if check.value is None else f"{check.value:g}: "
                self._print(f"{at}  [quiet]{escape(f'{check.id}: {value}{check.verdict}')}[/]")
            self._measured[check.id] = check.verdict

    def _is_worth_a_line(self, guard: Guard) -> bool:
        verdict, told, found = self._counted.get(guard.id, ("", -_NUMBERS_EVERY, ""))
        now = time.monotonic()
        if not guard.treatment.exposed + guard.control.exposed:
            return False
        if guard.verdict == verdict and (now - told < _NUMBERS_EVERY or guard.found == found):
            return False
        self._counted[guard.id] = guard.verdict, now, guard.found
        return True

    def away(self, fault: CliError) -> None:
        if not self._is_away:
            self._is_away = True
            self._session.notes.print(f"[hint]{escape(fault.message)}; waiting for it, the ramp is kept there[/]")

    def _print(self, line: str) -> None:
        self._session.out.print(line, soft_wrap=True)
        sys.stdout.flush()


class _Picture:
    """All about it, drawn anew in its place."""

    def __init__(self, session: Session) -> None:
        self._console = session.out
        self._ramp: Ramp | None = None
        self._trouble = ""
        self._live = Live(console=session.out, get_renderable=self._draw, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def hear(self, heard: _Heard) -> None:
        self._ramp, self._trouble = heard.ramp, ""

    def away(self, fault: CliError) -> None:
        self._trouble = fault.message

    def _draw(self) -> RenderableType:
        if self._ramp is None:
            return Text("…", "quiet")
        quiet = "Ctrl-C ends the following, not the ramp"
        last = Text(self._trouble or quiet, "hint" if self._trouble else "quiet", no_wrap=True, overflow="ellipsis")
        width, height = self._console.size
        return Group(*ramp_lines(self._ramp, ConsoleDimensions(width, height - 2)), last)
