"""How a change reaches ten thousand streams of one server: ``python -m loadtests.fan_out [STREAMS] [--quick]``.

In turns: Fader, with its limits as they are by default but for how fast streams may come, and the least that a Python
server can do (``loadtests/bare_fan_out.py``), each with as many streams and with events of the same size. Every stream
checks what it is sent. Meanwhile both are asked for ``/health/live`` at a steady rate.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import psutil
import urllib3

from loadtests.crowd import BUSY, PATIENCE, Crowd, Report, Steady, ending_after, is_quick, percentiles, possible, wanted
from loadtests.tables import show, wants_json
from loadtests.toggled import RULES, UNHURRIED, Asked, Toggled

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from crowds.processor import Share, Taken
from processes import ServerProcess

STREAMS: Final = 10_000
QUICK_STREAMS: Final = 2_000
CHANGES: Final = 30
QUICK_CHANGES: Final = 10
WARMING: Final = 3
"""Changes before those that are measured."""
RATE: Final = 200.0
"""Requests a second for ``/health/live``."""
PAUSE: Final = 0.1
LONGEST: Final = 900

MOST_OF_BARE: Final = 1.25
MOST_P99_MS: Final = 250.0
MOST_ACKNOWLEDGED_MS: Final = 2_500.0
MOST_STREAM_KB: Final = 20.0
MOST_OTHERS_P99_MS: Final = 15.0

_TOLD: Final = ("p50_ms", "p99_ms", "max_ms")


class Change(msgspec.Struct):
    """One change, and how it was received; all moments in nanoseconds of the clock that all processes share.

    Args:
        revision: Which.
        sent: When it was asked for.
        began: When the server says that it began.
        report: When it was received.
        server: What the server had of a processor meanwhile.
        acknowledging: How it was acknowledged, unless nobody was asked to.
        listening: What the server had of a processor while it was.
        acknowledged: When the server said that everybody had.
        told: What it said of the time that it took: ``p50_ms``, ``p99_ms`` and ``max_ms``.
    """

    revision: int
    sent: int
    began: int
    report: Report
    server: Share
    acknowledging: Report | None = None
    listening: Share | None = None
    acknowledged: int = 0
    told: dict[str, float] = {}


class Side(Protocol):
    """One of the two servers."""

    url: str
    key: str
    pid: int

    def change(self, size: int) -> Asked:
        """Change something; the bare server sends as many bytes as it is told."""

    def began(self, asked: Asked) -> int:
        """When it says that this began. Asked once everybody has it, so that nobody waits for the answer."""

    def acknowledged(self, revision: int) -> dict[str, Any] | None:
        """Wait until everybody has acknowledged it, and return what the server says then; ``None`` if nobody does."""

    def close(self) -> None: ...


class Bare:
    """``loadtests/bare_fan_out.py``, running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.bare_fan_out"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.key = "none"
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.pid = self._process.pid
        self._pool = urllib3.PoolManager(retries=False, timeout=PATIENCE)

    def change(self, size: int) -> Asked:
        sent = time.monotonic_ns()
        answer = self._pool.request("POST", f"{self.url}/broadcast?{size}").json()
        return Asked(answer["revision"], sent, time.monotonic_ns(), answer["began"])

    def began(self, asked: Asked) -> int:
        return asked.began

    def acknowledged(self, revision: int) -> dict[str, Any] | None:
        del revision
        return None

    def close(self) -> None:
        self._pool.clear()
        self._process.kill()
        self._process.communicate()


class Fader:
    """The server, with a flag that is switched on and off."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._flag = Toggled(server, RULES)
        self.url = server.url
        self.key = server.sdk_key()
        self.pid = server.process.pid

    def change(self, size: int) -> Asked:
        del size
        return self._flag.change()

    def began(self, asked: Asked) -> int:
        return self._flag.began(asked)

    def acknowledged(self, revision: int) -> dict[str, Any] | None:
        return self._flag.acknowledged(revision, PATIENCE)

    def close(self) -> None:
        self._server.close()


class Measured:
    """A server, its crowd, and who asks it something else meanwhile."""

    def __init__(self, name: str, side: Side, streams: int, stack: ExitStack) -> None:
        self.name = name
        self.side = side
        self._process = psutil.Process(side.pid)
        self.changes: list[Change] = []
        urllib3.request("GET", f"{side.url}/health/live", retries=False)
        self.bytes_before = self._process.memory_info().rss
        self.crowd = Crowd(side.url, side.key, streams)
        stack.callback(self.crowd.close)
        self.crowd.open()
        self.crowd.answered()
        self.bytes_open = self._process.memory_info().rss
        self.bytes_after = self.bytes_open
        self.steady = Steady(f"{side.url}/health/live", RATE)
        stack.callback(self.steady.close)

    def change(self, size: int) -> Change:
        """Change something, and wait until everybody has it, and has acknowledged it."""
        before = Taken.now(self.side.pid)
        asked = self.side.change(size)
        report = self.crowd.all_have(asked.revision)
        share = before.until(Taken.now(self.side.pid))
        change = Change(asked.revision, asked.sent, self.side.began(asked), report, share)
        # The server is asked once there is nothing left to wait for, so that until then it has only to listen.
        before = Taken.now(self.side.pid)
        acknowledging = self.crowd.answered()
        if (told := self.side.acknowledged(asked.revision)) is not None:
            change.acknowledging = acknowledging
            change.acknowledged = time.monotonic_ns()
            change.listening = before.until(Taken.now(self.side.pid))
            change.told = {name: told["propagation"][name] for name in _TOLD}
        self.changes.append(change)
        return change

    def finish(self) -> None:
        """Take down what is left to take down."""
        self.steady.collect()
        self.bytes_after = self._process.memory_info().rss

    def latencies(self, origin: str) -> list[list[float]]:
        """Of each change, milliseconds until each stream got it, from one of its moments or its first receipt on."""
        found = []
        for change in self.changes:
            times = change.report.times
            begin = times[0] if origin == "first" else getattr(change, origin)
            found.append([(at - begin) / 1e6 for at in times])
        return found

    def sending(self) -> list[tuple[int, int]]:
        """When changes were being sent."""
        return [(change.sent, change.report.times[-1]) for change in self.changes]

    def acknowledging(self) -> list[tuple[int, int]]:
        """When they were being acknowledged."""
        return [(change.report.times[-1], change.acknowledged) for change in self.changes if change.acknowledged]

    def stream_kb(self, held: int) -> float:
        """What one stream takes of so many bytes."""
        return (held - self.bytes_before) / self.crowd.streams / 1_000


def measure(streams: int, changes: int) -> tuple[Measured, Measured]:
    """Fader and the bare server, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare_side = Bare()
        stack.callback(bare_side.close)
        server = ServerProcess(folder, UNHURRIED)
        stack.callback(server.close)
        server.start()
        fader = Measured("Fader", Fader(server), streams, stack)
        size = fader.change(0).report.event_size
        bare = Measured("bare ASGI", bare_side, streams, stack)
        for number in range(WARMING + changes):
            if number == WARMING:
                fader.changes.clear()
                bare.changes.clear()
            for one in (bare, fader) if number % 2 else (fader, bare):
                time.sleep(PAUSE)
                size = one.change(size).report.event_size
        fader.finish()
        bare.finish()
        return fader, bare


Row = tuple[Any, ...]


def _receipts(fader: Measured, bare: Measured) -> tuple[list[Row], float, float]:
    """The table, the ratio that counts, and the p99 that counts.

    Other programs disturb one change and not the next, so the ratio is the median of those of changes that came one
    after the other. It counts from the first receipt: the bare server writes nothing to a disk beforehand.
    """
    rows: list[Row] = []
    ratio = p99 = 0.0
    for origin, what in (
        ("sent", "from the request on"),
        ("began", "from when the server says it began"),
        ("first", "from the first receipt on"),
    ):
        ours, theirs = fader.latencies(origin), bare.latencies(origin)
        together, apart = percentiles(chain.from_iterable(ours)), percentiles(chain.from_iterable(theirs))
        if origin == "began":
            p99 = together[1]
        pairs = [percentiles(one)[1] / percentiles(other)[1] for one, other in zip(ours, theirs, strict=True)]
        ratio = statistics.median(pairs)
        rows.append((f"Fader, {what}", *together, together[1] / apart[1], ratio))
        rows.append((f"bare, {what}", *apart, 1.0, 1.0))
    return rows, ratio, p99


def _acknowledgements(fader: Measured) -> tuple[list[Row], float]:
    """The table, and the longest time until all had acknowledged."""
    waited = [(change.acknowledged - change.sent) / 1e6 for change in fader.changes]
    answers = next(
        (change.acknowledging.acknowledgements for change in fader.changes[::-1] if change.acknowledging), {}
    )
    row = ("from the request until all have acknowledged", *percentiles(waited))
    told = (statistics.median(change.told[name] for change in fader.changes) for name in _TOLD)
    seen = zip(*(percentiles(times) for times in fader.latencies("began")), strict=True)
    return [
        (*row, ", ".join(f"{count:,} of {how}" for how, count in sorted(answers.items()))),
        ("propagation as the server tells it, median of changes", *told, ""),
        ("… and as the streams saw it", *(statistics.median(figures) for figures in seen), ""),
    ], max(waited)


def _others(what: str, one: Measured, spans: list[tuple[int, int]]) -> Row:
    took, late = one.steady.within(spans)
    return (what, len(took), *percentiles(took), percentiles(late)[1])


def _conditions(what: str, changes: list[Change], *, acknowledging: bool = False) -> Row:
    """How far the processors were the limit."""
    generator = [change.acknowledging if acknowledging else change.report for change in changes]
    server = [change.listening if acknowledging else change.server for change in changes]
    return (
        what,
        *(100 * statistics.fmean(share.running for share in shares if share) for shares in (generator, server)),
        *(100 * statistics.fmean(share.waiting for share in shares if share) for shares in (generator, server)),
    )


def report(fader: Measured, bare: Measured) -> list[str]:
    """Print everything, and return which limits were missed."""
    as_json, missed = wants_json(), []
    streams, changes = fader.crowd.streams, len(fader.changes)
    size = fader.changes[-1].report.event_size
    rows, ratio, p99 = _receipts(fader, bare)
    title = f"a change of {size} bytes reaches {streams:,} streams, {changes} times"
    show(
        title,
        ("receipt by every stream", "p50 ms", "p99 ms", "max ms", "p99 of bare", "median of pairs"),
        rows,
        as_json=as_json,
    )
    if ratio > MOST_OF_BARE:
        missed.append(f"{ratio:.2f} times the bare server's p99, and not {MOST_OF_BARE:g}")
    if p99 > MOST_P99_MS:
        missed.append(f"a p99 of {p99:.0f} ms, and not {MOST_P99_MS:g}")

    if fader.acknowledging():
        rows, slowest = _acknowledgements(fader)
        show(title, ("acknowledgements", "p50 ms", "p99 ms", "max ms", "answers"), rows, as_json=as_json)
        if slowest > MOST_ACKNOWLEDGED_MS:
            missed.append(f"{slowest:,.0f} ms until all had acknowledged, and not {MOST_ACKNOWLEDGED_MS:g}")

    rows = [_others("Fader, while changes are sent", fader, fader.sending())]
    if fader.acknowledging():
        rows.append(_others("Fader, while they are acknowledged", fader, fader.acknowledging()))
    rows.append(_others("bare, while changes are sent", bare, bare.sending()))
    columns: tuple[str, ...] = (
        "from when requests were due",
        "requests",
        "p50 ms",
        "p99 ms",
        "max ms",
        "sent late p99 ms",
    )
    show(f"GET /health/live, {RATE:g} a second", columns, rows, as_json=as_json)
    if rows[0][3] > MOST_OTHERS_P99_MS:
        missed.append(f"other requests' p99 of {rows[0][3]:.1f} ms, and not {MOST_OTHERS_P99_MS:g}")

    rows = [
        (
            one.name,
            one.bytes_before / 1e6,
            one.bytes_after / 1e6,
            one.stream_kb(one.bytes_open),
            one.stream_kb(one.bytes_after),
        )
        for one in (fader, bare)
    ]
    columns = ("server's memory", "before MB", "after MB", "KB a stream, all open", "KB a stream, after all")
    show(f"{streams:,} streams", columns, rows, as_json=as_json)
    if rows[0][4] > MOST_STREAM_KB:
        missed.append(f"{rows[0][4]:.1f} KB for a stream, and not {MOST_STREAM_KB:g}")

    conditions = [_conditions("Fader sends", fader.changes), _conditions("bare sends", bare.changes)]
    if fader.acknowledging():
        conditions.insert(1, _conditions("Fader is acknowledged", fader.changes, acknowledging=True))
    columns = ("% of the time", "generator ran", "server ran", "generator had none", "server had none")
    show("who had the processors", columns, conditions, as_json=as_json)
    if any(row[1] > BUSY * 100 for row in conditions):
        print("  THE GENERATOR WAS BUSY: what was measured is bounded by it")
    return missed


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    with ending_after(LONGEST):
        fader, bare = measure(possible(wanted(STREAMS, QUICK_STREAMS)), QUICK_CHANGES if is_quick() else CHANGES)
    missed = report(fader, bare)
    for miss in missed:
        print(f"  LIMIT MISSED: {miss}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
