"""How far a revision has come among SDK processes: what the server says of it, and how that is put into words."""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

_NAMED: Final = 5
"""Processes that a sentence names; `fader clients --behind` knows them all."""

_LONGEST_ERROR: Final = 160


class Propagation(Struct, frozen=True):
    """How long a change took from the commit until SDKs had applied it, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class Polling(Struct, frozen=True):
    """SDKs that ask every now and then, and how many of them were given the revision."""

    clients: int = 0
    up_to_date: int = 0


class Process(Protocol):
    """An SDK process, as far as its name goes."""

    @property
    def app(self) -> str:
        """What runs there."""

    @property
    def host(self) -> str:
        """Where it runs."""

    @property
    def instance(self) -> str:
        """What tells it from all others."""


class Missing(Struct, frozen=True, kw_only=True):
    """A process that is not known to have applied the revision."""

    app: str
    host: str
    instance: str
    state: str
    silent_seconds: float
    error: str = ""


class Acknowledgements(Struct, frozen=True, kw_only=True):
    """The server's answer, as far as it is of interest here."""

    environment: str
    epoch: str
    revision: int
    clients: int
    applied: int
    waiting: int
    refused: int
    lost: int
    starting: int = 0
    complete: bool
    polling: Polling = Polling()
    propagation: Propagation | None = None
    missing: tuple[Missing, ...] = ()
    scope: str = "all nodes"
    notes: tuple[str, ...] = ()
    counting_since: str | None = None

    @property
    def behind(self) -> int:
        """How many do not have it, or have not said so."""
        return self.clients - self.applied


def plain(text: str) -> str:
    """What a process says of itself, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def short_instance(process: Process) -> str:
    """What tells a process from others of its host."""
    return plain(process.instance.removeprefix(f"{process.host}:"))


def process_names(processes: Iterable[Process]) -> list[str]:
    """Processes by application and host, and more exactly where that is not enough to tell them apart."""
    known = list(processes)
    names = [plain("@".join(filter(None, (one.app, one.host)))) or short_instance(one) for one in known]
    return [
        f"{name}:{short_instance(one)}" if names.count(name) > 1 else name
        for name, one in zip(names, known, strict=True)
    ]


def duration(seconds: float) -> str:
    """A time in one unit.

    >>> duration(0.0412), duration(1.84), duration(41.3), duration(3_700)
    ('41 ms', '1.8 s', '41 s', '1 h')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.00095 else f"{seconds * 1000:.1f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.0f} s"


def quantiles(propagation: Propagation) -> tuple[str, str]:
    """How long it took half of all, and nearly all."""
    return f"p50 {duration(propagation.p50_ms / 1000)}", f"p99 {duration(propagation.p99_ms / 1000)}"


def why_missing(one: Missing) -> str:
    """What is known of a process that is missing."""
    if one.state == "refused":
        return f"refused: {textwrap.shorten(plain(one.error), _LONGEST_ERROR, placeholder=' …')}"
    silent = f"silent for {duration(one.silent_seconds)}"
    return f"lost, {silent}" if one.state == "lost" else silent


def missing_sentence(answer: Acknowledgements) -> str:
    """Who is missing, and why; nothing if nobody is."""
    if not answer.behind:
        return ""
    named = [
        f"{name} ({why_missing(one)})" for name, one in zip(process_names(answer.missing), answer.missing, strict=True)
    ]
    count = f"{answer.behind:,} {'has' if answer.behind == 1 else 'have'} not confirmed"
    if not named:
        return count
    more = answer.behind - len(named[:_NAMED])
    others = f" and {more:,} more (see `fader clients -e {answer.environment} --behind`)" if more > 0 else ""
    return f"{count}: {', '.join(named[:_NAMED])}{others}"


def reach_sentence(propagation: Mapping[str, Any]) -> str:
    """What the history tells of a change: how many processes had applied it, and how long that took them."""
    figures = [f"applied by {propagation['applied']:,} of {propagation['clients']:,}"]
    if propagation["refused"]:
        figures.append(f"refused by {propagation['refused']:,}")
    if propagation["p50_ms"] is not None:
        figures += quantiles(Propagation(propagation["p50_ms"], propagation["p99_ms"], propagation["max_ms"]))
    return " · ".join(figures)


def remarks(answer: Acknowledgements) -> list[str]:
    """What there is to know beside the numbers, a sentence each."""
    aside = []
    if answer.polling.clients:
        aside.append(f"{answer.polling.clients:,} that poll ({answer.polling.up_to_date:,} have it)")
    if answer.starting:
        aside.append(f"{answer.starting:,} without flags yet")
    said = [f"not waited for: {', '.join(aside)}"] if aside else []
    if answer.scope != "all nodes" and not answer.notes:
        said.append(f"these are the SDKs of {answer.scope} only")
    return [*said, *map(plain, answer.notes)]
