"""How long changes take in production's set-up: ``python -m loadtests.nodes``.

Real PostgreSQL (every commit is flushed to the disk), real Redis, real server processes, a real SDK, over loopback.
Beside them, in the same run: a bare request to the server, and a bare write to the same PostgreSQL.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import urllib3

from fader import Client
from loadtests.installation import server_python
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess
from services.postgres import PostgresServer
from services.redis_server import RedisServer

TOGGLES: Final = 300
TOGGLES_WITHOUT_REDIS: Final = 25
STARTS: Final = 5
PATIENCE: Final = 10.0

Row = tuple[str, float, float, float, str]

_BARE_WRITE: Final = "UPDATE bare SET revision = revision + 1 WHERE id = 1"


def _row(what: str, milliseconds: list[float], limit: str = "") -> Row:
    cuts = statistics.quantiles(milliseconds, n=100)
    return what, cuts[49], cuts[98], max(milliseconds), limit


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + PATIENCE
    while not condition():
        if time.perf_counter() > deadline:
            raise SystemExit("a change did not arrive")
        time.sleep(0.0002)  # gives the client's thread the interpreter, as any application's waiting does


def _bare_writes(url: str) -> list[float]:
    """What one committed statement costs: the floor of every write."""

    async def run() -> list[float]:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE bare (id int PRIMARY KEY, revision int)")
        await connection.execute("INSERT INTO bare VALUES (1, 0)")
        figures = []
        for _ in range(TOGGLES):
            began = time.perf_counter()
            await connection.execute(_BARE_WRITE)
            figures.append((time.perf_counter() - began) * 1000)
        await connection.close()
        return figures

    return asyncio.run(run())


def _toggles(writer: ServerProcess, flags: Client, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds until the writer's answer, and from the call to the moment when an SDK at another node follows."""
    answered, followed = [], []
    is_on = flags.is_enabled("toggled", "user-42")
    for _ in range(count):
        is_on = not is_on
        began = time.perf_counter()
        writer.admin.verb("toggled", "on" if is_on else "off")
        answered.append((time.perf_counter() - began) * 1000)
        _until(partial(_answers, flags, is_on))
        followed.append((time.perf_counter() - began) * 1000)
        time.sleep(0.005)
    return answered, followed


def _answers(flags: Client, is_on: bool) -> bool:
    return flags.is_enabled("toggled", "user-42") is is_on


def _starts(node: ServerProcess) -> list[float]:
    """Milliseconds from the start of the program to the first 200 of its readiness."""
    figures = []
    for _ in range(STARTS):
        node.terminate()
        figures.append(_timed(lambda: (node.start(), _until(lambda: _is_ready(node)))))
    return figures


def _is_ready(node: ServerProcess) -> bool:
    return urllib3.request("GET", f"{node.url}/health/ready", retries=False).status == 200


def measure() -> tuple[list[Row], float]:
    """The times, and the memory of an idle node in MB."""
    rows: list[Row] = []
    postgres, redis = PostgresServer(fsync="on"), RedisServer()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        nodes: list[ServerProcess] = []
        try:
            postgres.start()
            redis.start()
            url = postgres.create_database()
            first = ServerProcess(
                folder / "0", {"DATABASE_URL": url, "REDIS_URL": redis.url, "FADER_MIGRATE": "always"}
            )
            first.python = server_python(folder)
            nodes = [first, first.sibling(folder / "1", FADER_MIGRATE="auto")]
            for node in nodes:
                node.start()
            idle = psutil.Process(nodes[1].process.pid).memory_info().rss / 1e6
            first.admin.create_flag("toggled")
            pool = urllib3.PoolManager(retries=False)
            live = f"{first.url}/health/live"
            rows.append(
                _row("bare request and answer", [_timed(lambda: pool.request("GET", live)) for _ in range(TOGGLES)])
            )
            rows.append(_row("bare UPDATE in PostgreSQL", _bare_writes(url)))
            key = first.sdk_key()
            with Client(url=nodes[1].url, sdk_key=key, cache_dir=None, usage=False) as flags:
                _until(lambda: flags.evaluate("toggled", "user-42", default=False).revision is not None)
                answered, followed = _toggles(first, flags, TOGGLES)
                rows.append(_row("toggle answered by node 1", answered, "6 / 20"))
                rows.append(_row("… is_enabled at node 2, with Redis", followed, "- / 60"))
                redis.kill()
                time.sleep(2)
                _, followed = _toggles(first, flags, TOGGLES_WITHOUT_REDIS)
                rows.append(_row("… is_enabled at node 2, Redis down", followed, "- / 1,500"))
                redis.start()
            rows.append(_row("start of a node, to ready", _starts(nodes[1]), "- / 1,500"))
        finally:
            for node in nodes:
                node.close()
            postgres.close()
            redis.close()
    return rows, idle


def _is_within(row: Row) -> bool:
    _, p50, p99, _, limit = row
    limits = [part.strip().replace(",", "") for part in limit.split("/")] if limit else []
    return all(part == "-" or figure <= float(part) for part, figure in zip(limits, (p50, p99), strict=False))


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    rows, idle = measure()
    columns = ("two nodes, PostgreSQL, Redis", "p50 ms", "p99 ms", "max ms", "limits p50 / p99")
    show(f"{TOGGLES} changes from node 1 to node 2", columns, rows, as_json=wants_json())
    show("memory", ("what", "MB", "limit"), [("idle node, resident", idle, "90")], as_json=wants_json())
    missed = [row[0] for row in rows if not _is_within(row)] + (["memory"] if idle > 90 else [])
    if missed:
        print(f"  LIMITS MISSED: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
