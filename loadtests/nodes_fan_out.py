"""How a change at one node reaches the streams of two: ``python -m loadtests.nodes_fan_out [STREAMS] [--quick]``.

Real PostgreSQL (every commit is flushed to the disk), real Redis, two server processes, half of the streams at each.
The flag is changed at the first node, which is also asked whether all have acknowledged.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests.crowd import BUSY, PATIENCE, Crowd, Report, ending_after, is_quick, percentiles, possible, wanted
from loadtests.tables import show, wants_json
from loadtests.toggled import RULES, UNHURRIED, Asked, Toggled

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess
from services.postgres import PostgresServer
from services.redis_server import RedisServer

NODES: Final = 2
STREAMS: Final = 5_000
QUICK_STREAMS: Final = 1_000
CHANGES: Final = 30
QUICK_CHANGES: Final = 8
WARMING: Final = 2
PAUSE: Final = 0.1
LONGEST: Final = 600
MOST_ACKNOWLEDGED_MS: Final = 2_500.0


class Change(msgspec.Struct, frozen=True):
    """One change, the crowds' reports node by node, and milliseconds until all had acknowledged it."""

    asked: Asked
    reports: list[Report]
    acknowledged: float


def measure(streams: int, changes: int) -> list[Change]:
    """Change the flag again and again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres, redis = PostgresServer(fsync="on"), RedisServer()
        stack.callback(postgres.close)
        stack.callback(redis.close)
        postgres.start()
        redis.start()
        shared = {"DATABASE_URL": postgres.create_database(), "REDIS_URL": redis.url, **UNHURRIED}
        first = ServerProcess(folder / "0", shared)
        nodes = [first, *(first.sibling(folder / str(number)) for number in range(1, NODES))]
        for node in nodes:
            stack.callback(node.close)
            node.start()
        flag = Toggled(first, RULES)
        crowds = [Crowd(node.url, node.sdk_key(), streams // NODES) for node in nodes]
        for crowd in crowds:
            stack.callback(crowd.close)
            crowd.open()
        made = [_change(flag, crowds) for _ in range(WARMING + changes)]
        return made[WARMING:]


def _change(flag: Toggled, crowds: list[Crowd]) -> Change:
    time.sleep(PAUSE)
    asked = flag.change()
    reports = [crowd.all_have(asked.revision) for crowd in crowds]
    for crowd in crowds:
        crowd.answered()
    found = flag.acknowledged(asked.revision, PATIENCE)
    acknowledged = (time.monotonic_ns() - asked.sent) / 1e6
    _accounts_for_all(found, crowds)
    return Change(asked, reports, acknowledged)


def _accounts_for_all(found: dict[str, Any], crowds: list[Crowd]) -> None:
    streams = sum(crowd.streams for crowd in crowds)
    seen = found["clients"], found["applied"], found["nodes"], found["scope"]
    if seen != (streams, streams, len(crowds), "all nodes"):
        raise SystemExit(f"{streams:,} streams at {len(crowds)} nodes are told as {found}")


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    streams = possible(wanted(STREAMS, QUICK_STREAMS))
    with ending_after(LONGEST):
        changes = measure(streams, QUICK_CHANGES if is_quick() else CHANGES)
    rows: list[tuple[Any, ...]] = [
        ("write answered", *percentiles((one.asked.answered - one.asked.sent) / 1e6 for one in changes), ""),
    ]
    for node in range(NODES):
        receipts = percentiles((at - one.asked.sent) / 1e6 for one in changes for at in one.reports[node].times)
        busy = sum(one.reports[node].running for one in changes) / len(changes)
        where = "where it is made" if node == 0 else "another"
        rows.append((f"received by each stream of node {node + 1} ({where})", *receipts, 100 * busy))
    waited = [one.acknowledged for one in changes]
    rows.append(("acknowledged by all, at both nodes", *percentiles(waited), ""))
    title = f"{len(changes)} changes, {NODES} nodes, {streams // NODES:,} streams each"
    columns = ("from the request on", "p50 ms", "p99 ms", "max ms", "generator ran %")
    show(title, columns, rows, as_json=wants_json())
    if any(report.running > BUSY for one in changes for report in one.reports):
        print("  THE GENERATOR WAS BUSY: what was measured is bounded by it")
    if max(waited) > MOST_ACKNOWLEDGED_MS:
        print(f"  LIMIT MISSED: {max(waited):,.0f} ms until all had acknowledged, and not {MOST_ACKNOWLEDGED_MS:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
