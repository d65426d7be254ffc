"""Twenty changes a second for a minute: ``python -m loadtests.steady_changes [STREAMS] [--quick]``.

Each is due at a moment that was fixed beforehand, and its times count from then, however late the server was with
those before it. Every one of 2,000 streams checks what it is sent: nothing missing, nothing twice, nothing out of
order. The server's memory must not grow.
"""

import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import psutil

from loadtests.crowd import BUSY, PATIENCE, Crowd, Report, Steady, ending_after, is_quick, percentiles, possible, wanted
from loadtests.tables import show, wants_json
from loadtests.toggled import RULES, UNHURRIED, Asked, Toggled

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import running_server

STREAMS: Final = 2_000
QUICK_STREAMS: Final = 500
RATE: Final = 20
SECONDS: Final = 60
QUICK_SECONDS: Final = 8
WARMING_SECONDS: Final = 5
"""Before those that are measured, so that memory has the size that it will keep."""
REQUESTS_RATE: Final = 200.0
LONGEST: Final = 400
MOST_GROWTH: Final = 0.05
"""From the first third of the time to the last."""


class Run(msgspec.Struct):
    """What happened; moments are nanoseconds of the clock that all processes share.

    Args:
        due: When each change was to be made.
        changes: When it was.
        received: By revision, when streams got it.
        memory: The server's, in bytes, at each change.
        report: Of the crowd, in the end.
        others: Milliseconds of other requests meanwhile.
        acknowledged: Milliseconds from when the last change was due until all had acknowledged it.
    """

    due: list[int]
    changes: list[Asked]
    received: dict[int, list[int]]
    memory: list[int]
    report: Report
    others: list[float]
    acknowledged: float


def measure(streams: int, seconds: int) -> Run:
    """Change the flag all the time."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), **UNHURRIED) as server:
        flag = Toggled(server, RULES)
        process = psutil.Process(server.process.pid)
        crowd = Crowd(server.url, server.sdk_key(), streams, keeps_connections=True)
        steady = Steady(f"{server.url}/health/live", REQUESTS_RATE)
        try:
            crowd.open()
            last = _keep_changing(flag, process, WARMING_SECONDS)[1][-1]
            crowd.all_have(last.revision)
            crowd.history()
            due, changes, memory = _keep_changing(flag, process, seconds)
            report = crowd.all_have(changes[-1].revision)
            crowd.answered()
            flag.acknowledged(changes[-1].revision, PATIENCE)
            acknowledged = (time.monotonic_ns() - due[-1]) / 1e6
            steady.collect()
            others, _ = steady.within([(due[0], report.times[-1])])
            report = crowd.between(due[0], report.times[-1])
            return Run(due, changes, crowd.history(), memory, report, others, acknowledged)
        finally:
            steady.close()
            crowd.close()


def _keep_changing(flag: Toggled, process: psutil.Process, seconds: int) -> tuple[list[int], list[Asked], list[int]]:
    begin, interval = time.monotonic_ns(), round(1e9 / RATE)
    due = [begin + number * interval for number in range(1, RATE * seconds + 1)]
    changes, memory = [], []
    for moment in due:
        if (left := moment - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
        changes.append(flag.change())
        memory.append(process.memory_info().rss)
    return due, changes, memory


def _lost(run: Run, streams: int) -> list[str]:
    """Which changes did not get a revision of their own, or did not reach everybody exactly once."""
    revisions = [asked.revision for asked in run.changes]
    wrong = [f"revision {later} came after {one}" for one, later in pairwise(revisions) if later != one + 1]
    got = {revision: len(run.received.get(revision, ())) for revision in revisions}
    wrong += [
        f"revision {one} reached {count:,} of {streams:,} streams" for one, count in got.items() if count != streams
    ]
    return wrong


def main() -> int:
    """Measure and print; 1 if anything was lost, or memory grew."""
    streams = possible(wanted(STREAMS, QUICK_STREAMS))
    with ending_after(LONGEST):
        run = measure(streams, QUICK_SECONDS if is_quick() else SECONDS)
    missed = _lost(run, streams)[:10]
    received = [
        (at - due) / 1e6
        for due, asked in zip(run.due, run.changes, strict=True)
        for at in run.received.get(asked.revision, ())
    ]
    rows = [
        ("write answered", *percentiles((a.answered - due) / 1e6 for due, a in zip(run.due, run.changes, strict=True))),
        ("received, each change by each stream", *percentiles(received)),
        ("GET /health/live meanwhile", *percentiles(run.others)),
    ]
    title = f"{len(run.changes):,} changes, {RATE} a second, {streams:,} streams"
    show(title, ("from when it was due", "p50 ms", "p99 ms", "max ms"), rows, as_json=wants_json())
    third = len(run.memory) // 3
    first, last = statistics.fmean(run.memory[:third]), statistics.fmean(run.memory[-third:])
    answers = ", ".join(f"{count:,} of {how}" for how, count in sorted(run.report.acknowledgements.items()))
    figures = [
        ("receipts, each checked", f"{len(received):,}"),
        ("server's memory, first third MB", first / 1e6),
        ("server's memory, last third MB", last / 1e6),
        ("until all had acknowledged the last change, ms", run.acknowledged),
        ("acknowledgements answered", answers),
        ("generator ran, % of the time", 100 * run.report.running),
    ]
    show(title, ("what", "figure"), figures, as_json=wants_json())
    if run.report.running > BUSY:
        print("  THE GENERATOR WAS BUSY: what was measured is bounded by it")
    if last > first * (1 + MOST_GROWTH):
        missed.append(f"memory grew by {last / first - 1:.0%}")
    for miss in missed:
        print(f"  LIMIT MISSED: {miss}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
