"""Crowds of timed streams, as measurements use them: the programs of ``tests/crowds``, bounded in time."""

import resource
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from crowds.orders import Program

PATIENCE: Final = 60.0
"""Seconds in which a change must have reached everybody, and be acknowledged."""
OPENING_PATIENCE: Final = 300.0
BUSY: Final = 0.9
"""Share of a processor beyond which what is measured may be the generator, and not the server."""
_SPARE_FILES: Final = 3_500
"""Open files that a crowd needs beside its streams: acknowledgements are connections of their own."""


class Report(msgspec.Struct, frozen=True):
    """What a crowd says.

    Args:
        streams: How many are open.
        violations: What was sent and should not have been.
        lost: Streams that ended.
        acknowledgements: How many were answered how.
        event_size: Bytes of the last change, as sent.
        times: When clients got what was asked about, in order: nanoseconds of the clock that all processes share.
        running: The crowd's share of a processor meanwhile.
        waiting: How much of the time it was kept waiting for one.
    """

    streams: int
    violations: list[str]
    lost: list[str]
    acknowledgements: dict[str, int]
    event_size: int
    times: list[int] = []
    running: float = 0.0
    waiting: float = 0.0


class Crowd:
    """So many timed streams of one server, in a process of their own.

    Args:
        url: The server's.
        key: The SDK key with which they come.
        streams: How many.
        keeps_connections: Whether the connections for acknowledgements stay open for the next ones.
    """

    def __init__(self, url: str, key: str, streams: int, *, keeps_connections: bool = False) -> None:
        self.streams = streams
        self._program = Program("timed_streams", url, key, *(["--keep-connections"] if keeps_connections else []))

    def open(self) -> None:
        """Open all of them."""
        self._checked(self._program.ask("open", count=self.streams, patience=OPENING_PATIENCE))

    def all_have(self, revision: int) -> Report:
        """Wait until everybody has been sent a revision; who was sent something wrong ends the measurement."""
        report = self._checked(self._program.ask("all_have", revision=revision, patience=PATIENCE))
        if len(report.times) != self.streams:
            raise SystemExit(f"{len(report.times):,} of {self.streams:,} streams got revision {revision:,}")
        return report

    def answered(self) -> Report:
        """Wait until all acknowledgements have been answered."""
        return self._checked(self._program.ask("answered", patience=PATIENCE))

    def between(self, begin: int, end: int) -> Report:
        """How much of a processor it had between two moments."""
        return self._checked(self._program.ask("share", begin=begin, end=end))

    def history(self) -> dict[int, list[int]]:
        """When clients got which revision, since the last call."""
        return msgspec.convert(self._program.ask("history"), dict[int, list[int]], strict=False)

    def _checked(self, answer: Any) -> Report:
        report = msgspec.convert(answer, Report)
        if report.violations or report.lost or report.streams != self.streams:
            raise SystemExit("\n".join([f"{report.streams:,} streams are open", *report.violations, *report.lost]))
        return report

    def close(self) -> None:
        """End the process."""
        self._program.close()


class Steady:
    """The same request again and again at a steady rate, in a process of its own.

    Args:
        url: What is asked for.
        rate: How often in a second.
    """

    def __init__(self, url: str, rate: float) -> None:
        self._program = Program("steady_requests", url, f"{rate:g}")
        self._times: list[tuple[int, int, int]] = []

    def collect(self) -> None:
        """Fetch what was measured; everything else must have been done."""
        self._times += [tuple(times) for times in self._program.ask("collect")]

    def within(self, spans: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
        """Of requests that were due in these spans: milliseconds from then until the answer, and how late the program
        itself was to send it, though the answer before had come."""
        took, late = [], []
        answered_before = 0
        remaining = iter(sorted(spans))
        span = next(remaining, None)
        for due, sent, answered in self._times:
            while span is not None and due > span[1]:
                span = next(remaining, None)
            if span is not None and due >= span[0]:
                took.append((answered - due) / 1e6)
                late.append((sent - max(due, answered_before)) / 1e6)
            answered_before = answered
        return took, late

    def close(self) -> None:
        """End the process."""
        self._program.close()


def percentiles(milliseconds: Iterable[float]) -> tuple[float, float, float]:
    """The median, the 99th percentile, and the longest."""
    figures = list(milliseconds)
    if len(figures) < 2:
        raise SystemExit("too little was measured")
    cuts = statistics.quantiles(figures, n=100, method="inclusive")
    return cuts[49], cuts[98], max(figures)


def possible(streams: int) -> int:
    """As many streams as this process's descendants may have open files for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = streams if hard == resource.RLIM_INFINITY else min(streams, hard - _SPARE_FILES)
    if most < streams:
        print(f"  ONLY {most:,} STREAMS: the limit of open files is {hard:,}", file=sys.stderr)
    return most


def wanted(default: int, quick: int) -> int:
    """How many were asked for on the command line: a number, ``--quick``, or nothing."""
    given = [argument for argument in sys.argv[1:] if argument.isdigit()]
    return int(given[0]) if given else quick if is_quick() else default


def is_quick() -> bool:
    """Whether a short version was asked for."""
    return "--quick" in sys.argv[1:]


@contextmanager
def ending_after(seconds: int) -> Iterator[None]:
    """End the measurement after so many seconds, whatever it waits for."""

    def give_up(*_: object) -> None:
        raise SystemExit(f"it was not over after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        with suppress(ValueError):
            signal.signal(signal.SIGALRM, before)
