"""How SDKs come back while three nodes are restarted one after the other: ``python -m loadtests.rolling_restart``.

Real nodes on PostgreSQL and Redis behind a load balancer, real SDKs. When each stream was opened is read from the
nodes' own logs. What matters is that they do not all come in the same moment, and that nobody misses anything.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

from fader import Client
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess
from services.load_balancer import balanced
from services.postgres import PostgresServer
from services.redis_server import RedisServer

NODES: Final = 3
CLIENTS: Final = 300
SLICE: Final = 0.25
PATIENCE: Final = 60.0
MOST_IN_A_SLICE: Final = 0.5
"""Of all that come back from one node."""


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("something did not happen")
        time.sleep(0.01)


def _opened(nodes: list[ServerProcess]) -> list[float]:
    """When streams were opened, in seconds since 1970, in order."""
    times = []
    for node in nodes:
        for line in node.log.read_text().splitlines():
            entry = json.loads(line)
            if entry["event"] == "stream opened" and entry["path"] == "/sdk/v1/stream":
                times.append(datetime.fromisoformat(entry["timestamp"]).timestamp())
    return sorted(times)


def measure() -> tuple[list[tuple[str, int, float, float, float, str]], int]:
    """Of each restart: which, how many came back, after how many seconds (median, last), the largest share in one slice
    of time, and a picture; and how many SDKs missed the last change."""
    rows = []
    postgres, redis = PostgresServer(), RedisServer()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(postgres.close)
        stack.callback(redis.close)
        postgres.start()
        redis.start()
        shared = {"DATABASE_URL": postgres.create_database(), "REDIS_URL": redis.url, "FADER_DRAIN_SECONDS": "0.5"}
        first = ServerProcess(folder / "0", {**shared, "FADER_MIGRATE": "always"})
        nodes = [first, *(first.sibling(folder / str(number)) for number in range(1, NODES))]
        for node in nodes:
            stack.callback(node.close)
            node.start()
        first.admin.create_flag("rolling")
        balancer = stack.enter_context(balanced([node.port for node in nodes]))
        _until(lambda: all(balancer.is_ready(node.port) for node in nodes))
        clients = [
            stack.enter_context(Client(url=balancer.url, sdk_key=first.sdk_key(), cache_dir=None, usage=False))
            for _ in range(CLIENTS)
        ]
        _until(lambda: all(client.ready for client in clients))
        for number, node in enumerate(nodes):
            before = len(_opened(nodes))
            told = time.time()
            node.terminate()
            node.start()
            _until(lambda node=node: balancer.is_ready(node.port))
            time.sleep(4)  # SDKs come back between one and two seconds after they were told
            came = [moment - told for moment in _opened(nodes)[before:]]
            slices = Counter(int(moment / SLICE) for moment in came)
            picture = "".join(
                " ▁▂▃▄▅▆▇█"[min(8, -(-slices[k] * 8 // max(slices.values())))] for k in range(max(slices) + 1)
            )
            largest = max(slices.values()) / len(came)
            rows.append((f"node {number + 1}", len(came), came[len(came) // 2], came[-1], largest, picture))
        revision = first.admin.verb("rolling", "on")["revision"]
        time.sleep(1)
        missed = sum(client.revision != revision for client in clients)
    return rows, missed


def main() -> int:
    """Measure and print; 1 if they came in one moment, or somebody missed a change."""
    rows, missed = measure()
    columns = (
        "restarted",
        "came back",
        "median s",
        "last s",
        f"most in {SLICE:g} s",
        f"each {SLICE:g} s from the signal on",
    )
    show(f"{CLIENTS} SDKs, {NODES} nodes", columns, rows, as_json=wants_json())
    show("afterwards", ("SDKs that missed the last change",), [(missed,)], as_json=wants_json())
    return int(missed > 0 or any(largest > MOST_IN_A_SLICE for *_, largest, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
