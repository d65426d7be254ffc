"""A small production: three servers on one PostgreSQL and one Redis behind a load balancer, where everything can break.

Each server reaches PostgreSQL and Redis through proxies of its own, and is reached through one, so that every network
between two parts can fail by itself.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

from fader_server.storage.migrate import migrate
from faults.history import Count, LogEntry
from faults.nemesis import Planned
from processes import ServerProcess
from services.load_balancer import LoadBalancer
from services.postgres import PostgresServer
from services.redis_server import RedisServer
from services.tcp_proxy import TcpProxy

NODES: Final = 3
HEARTBEAT_SECONDS: Final = 1.0
_LONGEST_DELAY: Final = 0.4

_OF_PROXIES: Final = ("cut", "refuse", "swallow", "delay")
KINDS: Final[dict[str, tuple[str, ...]]] = {
    **{f"node {number}": ("kill", "kill", "stop", "pause") for number in range(NODES)},
    **{f"network before node {number}": _OF_PROXIES for number in range(NODES)},
    **{f"network to PostgreSQL from node {number}": _OF_PROXIES for number in range(NODES)},
    **{f"network to Redis from node {number}": _OF_PROXIES for number in range(NODES)},
    "PostgreSQL": ("kill", "stop", "pause", "terminate the connections of", "terminate the connections of"),
    "Redis": ("kill", "pause"),
    "all networks before nodes": ("cut",),
}
"""What can break, and how."""


class Node:
    """A server and the networks around it.

    Args:
        number: Which one of all.
        folder: Its own.
        postgres: Its database server.
        redis: What it shares with the others.
        database: The database's name.
        stack: Ends it all.
        environment: Further variables for it.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        postgres: PostgresServer,
        redis: RedisServer,
        database: str,
        stack: ExitStack,
        **environment: str,
    ) -> None:
        self.to_postgres = TcpProxy(postgres.port)
        stack.callback(self.to_postgres.close)
        self.to_redis = TcpProxy(redis.port)
        stack.callback(self.to_redis.close)
        folder.mkdir()
        self.server = ServerProcess(
            folder,
            {
                "DATABASE_URL": postgres.url(database, port=self.to_postgres.port),
                "REDIS_URL": redis.url_by(self.to_redis.port),
                "FADER_HEARTBEAT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
                "FADER_SHUTDOWN_SECONDS": "3",
            }
            | environment,
        )
        stack.callback(self.server.close)
        self.number = number

    def memory(self) -> int:
        """What it holds, in bytes."""
        return int(psutil.Process(self.server.process.pid).memory_info().rss)


class Testbed:
    """All of it, running."""

    __test__ = False  # it is none, whatever pytest thinks of the name

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.postgres = PostgresServer()
        stack.callback(self.postgres.close)
        self.redis = RedisServer()
        stack.callback(self.redis.close)
        self.postgres.start()
        self.redis.start()
        self._database = self.postgres.create_database()
        asyncio.run(migrate(self._database))
        name = self._database.rpartition("/")[2]
        self.nodes = [
            Node(number, folder / f"node-{number}", self.postgres, self.redis, name, stack) for number in range(NODES)
        ]
        for node in self.nodes[1:]:
            node.server.admin_token = self.nodes[0].server.admin_token
        with ThreadPoolExecutor(NODES) as threads:
            list(threads.map(lambda node: node.server.start(), self.nodes))
        self.before_nodes = []
        for node in self.nodes:
            proxy = TcpProxy(node.server.port)
            stack.callback(proxy.close)
            self.before_nodes.append(proxy)
        self.balancer = LoadBalancer([proxy.port for proxy in self.before_nodes])
        stack.callback(self.balancer.close)

    @property
    def admin_token(self) -> str:
        return self.nodes[0].server.admin_token

    @property
    def secrets(self) -> list[str]:
        """What must not be found in any log."""
        keys = [node.server.sdk_key(name) for node in self.nodes for name in ("development", "staging", "production")]
        return [
            self.admin_token,
            self.postgres.password,
            self.redis.password,
            *(key.partition(".")[2] for key in keys),
        ]

    @property
    def urls(self) -> tuple[str, ...]:
        """Each server's address, through the network before it."""
        return tuple(f"http://127.0.0.1:{proxy.port}" for proxy in self.before_nodes)

    def break_(self, planned: Planned) -> Callable[[], None]:
        """Break something; what is returned mends it."""
        number = int(planned.target[-1]) if planned.target[-1].isdigit() else None
        match planned.target.split(" "):
            case ["node", _]:
                assert number is not None
                return self._break_node(self.nodes[number].server, planned.kind)
            case ["network", *where]:
                assert number is not None
                node = self.nodes[number]
                proxies = {"PostgreSQL": node.to_postgres, "Redis": node.to_redis, "node": self.before_nodes[number]}
                return _break_network(proxies[where[1]], planned)
            case ["all", *_]:
                for proxy in self.before_nodes:
                    proxy.cut()
                return _nothing
            case ["PostgreSQL"]:
                return self._break_postgres(planned.kind)
            case ["Redis"]:
                return self._break_redis(planned.kind)
        raise ValueError(planned.target)

    def _break_node(self, server: ServerProcess, kind: str) -> Callable[[], None]:
        match kind:
            case "kill":
                server.kill()
                return server.start
            case "stop":
                assert server.terminate() == 0
                return server.start
        return paused(server.process.pid)

    def _break_postgres(self, kind: str) -> Callable[[], None]:
        match kind:
            case "kill":
                self.postgres.kill()
                return self.postgres.start
            case "stop":
                self.postgres.stop()
                return self.postgres.start
            case "pause":
                return paused(*_family(self.postgres.process.pid))
        self.postgres.terminate_connections()
        return _nothing

    def _break_redis(self, kind: str) -> Callable[[], None]:
        if kind == "kill":
            self.redis.kill()
            return self.redis.start
        return paused(self.redis.process.pid)

    def log(self) -> list[LogEntry]:
        """The log of changes, from the database itself."""
        return read_log(self.postgres, self._database)

    def revisions(self) -> dict[str, int]:
        """What each environment says that it is at."""
        return read_revisions(self.postgres, self._database)

    def counts(self) -> list[Count]:
        """How often what was served."""
        return read_counts(self.postgres, self._database)


def read_log(postgres: PostgresServer, database: str) -> list[LogEntry]:
    """The log of changes, from the database itself.

    Args:
        postgres: The server.
        database: The database's URL.
    """
    columns = ("id", "environment", "epoch", "revision", "kind", "key", "action", "reason", "before", "after")
    rows = postgres.execute(f"SELECT {', '.join(columns)} FROM changes ORDER BY id", database)
    return [LogEntry(**dict(zip(columns, row, strict=True))) for row in rows]


def read_revisions(postgres: PostgresServer, database: str) -> dict[str, int]:
    """What each environment says that it is at, as ``read_log``."""
    rows = postgres.execute("SELECT key, revision FROM environments", database)
    return {str(key): int(revision) for key, revision in rows}


def read_counts(postgres: PostgresServer, database: str) -> list[Count]:
    """How often what was served, as ``read_log``."""
    statement = "SELECT environment, flag, variant, sum(count)::bigint FROM usage GROUP BY environment, flag, variant"
    columns = ("environment", "flag", "variant", "count")
    return [Count(**dict(zip(columns, row, strict=True))) for row in postgres.execute(statement, database)]


def _break_network(proxy: TcpProxy, planned: Planned) -> Callable[[], None]:
    match planned.kind:
        case "cut":
            proxy.cut()
            return _nothing
        case "refuse":
            proxy.refuse()
        case "swallow":
            proxy.swallow()
        case "delay":
            proxy.delay(planned.strength * _LONGEST_DELAY)
    return proxy.restore


def _family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def paused(*pids: int) -> Callable[[], None]:
    """Stop processes without ending them, as a machine does that is out of breath."""
    stopped = [pid for pid in pids if _signal(pid, signal.SIGSTOP)]

    def go_on() -> None:
        for pid in stopped:
            _signal(pid, signal.SIGCONT)

    return go_on


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # a child of PostgreSQL's that has ended meanwhile
        return False
    return True


def _nothing() -> None:
    """What was broken has mended itself."""


@contextmanager
def running_testbed(folder: Path) -> Iterator[Testbed]:
    """A testbed for the time of a ``with`` block."""
    with ExitStack() as stack:
        yield Testbed(folder, stack)
