"""What is seen of waiting for SDKs: a bar that fills up on a terminal, lines elsewhere."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fader_cli.acknowledgements import (
    Acknowledgements,
    missing_sentence,
    process_names,
    quantiles,
    remarks,
    why_missing,
)
from fader_cli.session import Session
from fader_cli.waiting import Waiting

_BAR: Final = 24


def bar(answer: Acknowledgements) -> Bar:
    """How many of all have it."""
    return Bar(answer.clients, 0, answer.applied, width=_BAR, color="green" if answer.complete else "yellow")


def counted(answer: Acknowledgements) -> str:
    """The same in numbers."""
    return f"{answer.applied:,} / {answer.clients:,} SDKs"


def meanwhile(session: Session, waitings: Sequence[Waiting]) -> "AbstractContextManager[Callable[[], None]]":
    """Shows how the waiting goes, until the block ends.

    Returns:
        What is to be called whenever something was heard.
    """
    if session.as_json:
        return nullcontext(lambda: None)
    return _Picture(session, waitings) if session.is_animated else nullcontext(_Names(session, waitings))


def show_outcome(session: Session, waitings: Sequence[Waiting]) -> None:
    """What it came to: the last picture stands already where there was one; and who is missing."""
    for waiting in waitings:
        where = f"{waiting.environment}: " if len(waitings) > 1 else ""
        answer = waiting.answer
        if answer is not None:
            if not session.is_animated:
                session.out.print(f"{where}{_line(answer)}", markup=False)
            missing = missing_sentence(answer)
            if missing:
                session.out.print(f"[hint]{escape(where + missing)}[/]")
            for remark in remarks(answer):
                session.out.print(f"[quiet]{escape(where + remark)}[/]")
            absent = waiting.expected - answer.clients
            if absent > 0:
                session.out.print(f"[hint]{where}{absent:,} have not come back since the server was away[/]")
        if waiting.fault is not None:
            session.out.print(f"[hint]{escape(where + waiting.fault.message)}[/]")


def _line(answer: Acknowledgements) -> str:
    if not answer.clients:
        return f"no SDK is connected in {answer.environment}"
    figures = [] if answer.propagation is None else quantiles(answer.propagation)
    return "   ".join([f"applied by {counted(answer)}", *figures])


class _Names:
    """Names those who refuse, once each, while others are waited for."""

    def __init__(self, session: Session, waitings: Sequence[Waiting]) -> None:
        self._session = session
        self._waitings = waitings
        self._named: set[str] = set()

    def __call__(self) -> None:
        for waiting in self._waitings:
            for name, line in _refusals(waiting).items():
                if name not in self._named:
                    self._session.notes.print(f"[off]{escape(line)}[/]")
            self._named |= _refusals(waiting).keys()


class _Picture:
    def __init__(self, session: Session, waitings: Sequence[Waiting]) -> None:
        self._waitings = waitings
        self._is_over = False
        self._live = Live(console=session.out, get_renderable=self._draw, refresh_per_second=10)

    def __enter__(self) -> Callable[[], None]:
        self._live.start(refresh=True)
        return lambda: None  # it draws itself anew, ten times a second

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._live.stop()

    def _draw(self) -> RenderableType:
        made = Table.grid(padding=(0, 2, 0, 0))
        for width in (None, _BAR, None, None, None):
            made.add_column(max_width=width, no_wrap=width is None)
        for waiting in self._waitings:
            made.add_row(*self._cells(waiting))
        if self._is_over:
            return made
        refusals = [line for waiting in self._waitings for line in _refusals(waiting).values()]
        return Group(made, *(Text(line, "bold red", no_wrap=True, overflow="ellipsis") for line in refusals))

    def _cells(self, waiting: Waiting) -> list[RenderableType]:
        label = "applied by" if len(self._waitings) == 1 else waiting.environment
        answer = waiting.answer
        if answer is None:
            return [Text(label), Text("…" if waiting.fault is None else waiting.fault.message, "dim")]
        if not answer.clients:
            return [Text(label), Text("no SDK is connected", "dim")]
        figures = () if answer.propagation is None else quantiles(answer.propagation)
        state = [] if waiting.fault is None or self._is_over else [Text("the server is away", "yellow")]
        return [Text(label), bar(answer), Text(counted(answer)), *(state or map(Text, figures))]


def _refusals(waiting: Waiting) -> dict[str, str]:
    missing = () if waiting.answer is None else waiting.answer.missing
    refusing = [one for one in missing if one.state == "refused"]
    return {
        one.instance: f"{name} has {why_missing(one)}"
        for name, one in zip(process_names(refusing), refusing, strict=True)
    }
