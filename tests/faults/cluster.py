"""A few servers on one PostgreSQL and one Redis, with people who change flags and programs that follow them: what a
test of one fault needs.

A test breaks something, looks at what each party sees of it, mends it, and calls ``recovers``: nobody but the services
themselves may do anything about it then. ``Cluster`` writes down what everybody saw, from its beginning on, and
``recovers`` holds all of it against the log of changes, as the test of random faults does.

>>> def test_something(cluster):                                                            # doctest: +SKIP
...     with cluster.writing() as written:
...         cluster.postgres.kill()
...         assert cluster.try_to_write(cluster.nodes[0]).status == 503
...         cluster.postgres.start()
...         written.more(5)
...     cluster.recovers()
"""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
import urllib3

from fader_server.storage.migrate import migrate
from faults.checker import Violation, check_history, check_memory, check_server_log
from faults.followers import Followers
from faults.history import Record, Recorder, Write, read_history
from faults.programs.assignment import Assignment, Waypoint
from faults.testbed import Node, read_log, read_revisions
from faults.writers import BOOLEANS, ENVIRONMENTS, FLAGS, Request, Writer, first_requests
from processes import PATIENCE, Answer, wait_for
from services.load_balancer import LoadBalancer
from services.postgres import PostgresServer
from services.redis_server import RedisServer

HEARTBEAT_SECONDS: Final = 0.5
POLL_SECONDS: Final = 1.0
POLL_SECONDS_WITHOUT_BUS: Final = 0.2
ALLOWED_MEMORY: Final = 250_000_000
"""Bytes that a server may hold at the end. It begins with about 90 MB."""

_WRITERS: Final = 3
_PAUSE_OF_WRITERS: Final = 0.05
_STREAMS: Final = 8
_SDKS: Final = 2
_GIVE_UP_SECONDS: Final = 8.0
_SAMPLE: Final = b'{"type":"sample",'


class Written(Recorder):
    """Writes down what became of writes, and counts those that were acknowledged."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._changed = threading.Condition()
        self._done = 0

    def record(self, *records: Record) -> None:
        """As inherited."""
        super().record(*records)
        with self._changed:
            self._done += sum(isinstance(one, Write) and one.outcome == "done" for one in records)
            self._changed.notify_all()

    def more(self, count: int) -> None:
        """Wait until so many more writes have been acknowledged."""
        with self._changed:
            wanted = self._done + count
            assert self._changed.wait_for(lambda: self._done >= wanted, PATIENCE), "writes do not succeed any more"


class Cluster:
    """All of it, running.

    Args:
        folder: For what is written down.
        stack: Ends it all.
        nodes: How many servers.
        environment: Variables for the servers.
    """

    def __init__(self, folder: Path, stack: ExitStack, nodes: int, environment: dict[str, str]) -> None:
        self._folder = folder
        self._stack = stack
        self.postgres = PostgresServer()
        stack.callback(self.postgres.close)
        self.redis = RedisServer()
        stack.callback(self.redis.close)
        self.postgres.start()
        self.redis.start()
        self.database = self.postgres.create_database()
        asyncio.run(migrate(self.database))
        settings = {
            "FADER_HEARTBEAT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
            "FADER_POLL_SECONDS": f"{POLL_SECONDS:g}",
            "FADER_POLL_SECONDS_WITHOUT_BUS": f"{POLL_SECONDS_WITHOUT_BUS:g}",
        } | environment
        name = self.database.rpartition("/")[2]
        self.nodes = [
            Node(number, folder / f"node-{number}", self.postgres, self.redis, name, stack, **settings)
            for number in range(nodes)
        ]
        for node in self.nodes[1:]:
            node.server.admin_token = self.nodes[0].server.admin_token
        self.together(*(node.server.start for node in self.nodes))
        self.balancer = LoadBalancer([node.server.port for node in self.nodes])
        stack.callback(self.balancer.close)
        self._written = Written(folder / "writes.jsonl")
        stack.callback(self._written.close)
        self._numbers = itertools.count()
        self._someone = {node.number: self._writer(f"someone-{node.number}", [node]) for node in self.nodes}
        for request in first_requests():
            assert self._someone[0].send(request).outcome == "done"
        (folder / "caches").mkdir()
        self.streams = self._following("raw_streams", "stream", _STREAMS, [node.server.url for node in self.nodes])
        self.sdks = self._following("sampling_sdks", "sdk", _SDKS, [self.balancer.url])
        self.followers_arrive()
        self._memory = [node.memory() for node in self.nodes]

    def _writer(self, name: str, nodes: list[Node]) -> Writer:
        urls = [node.server.url for node in nodes]
        rng = random.Random(name)
        return Writer(name, urls, self.nodes[0].server.admin_token, self._written, rng, _PAUSE_OF_WRITERS)

    def _following(self, program: str, name: str, count: int, urls: list[str]) -> Followers:
        keys = {environment: self.nodes[0].server.sdk_key(environment) for environment in ENVIRONMENTS}
        assignment = Assignment(
            name=name,
            life=0,
            history="",
            urls=tuple(urls),
            keys=keys,
            followers=count,
            flags=FLAGS,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            folder=str(self._folder / "caches"),
            seed=1,
        )
        followers = Followers(program, self._folder, assignment)
        self._stack.callback(followers.close)
        followers.start()
        return followers

    @staticmethod
    def together(*actions: Any) -> None:
        """Do several things at once, and wait for all of them."""
        with ThreadPoolExecutor(len(actions)) as threads:
            for done in [threads.submit(action) for action in actions]:
                done.result()

    # What people do.

    @contextmanager
    def writing(self) -> Iterator[Written]:
        """Several writers, busy at all nodes; they try each write until it is answered, or for eight seconds."""
        crowd = [self._writer(f"writer-{next(self._numbers)}", self.nodes) for _ in range(_WRITERS)]
        for writer in crowd:
            writer.start()
        try:
            self._written.more(3)
            yield self._written
        finally:
            for writer in crowd:
                writer.stop()
            for writer in crowd:
                writer.join(PATIENCE)
        for writer in crowd:
            assert not writer.is_alive()
            if writer.failure is not None:
                raise writer.failure

    def try_to_write(self, node: Node, environment: str = "production") -> Write:
        """One write that makes a difference, at one node, tried once."""
        return self._someone[node.number].send(_another_rule(environment), is_keyed=False)

    def write(self, node: Node, environment: str = "production") -> int:
        """The same, and it must succeed; the revision that it made."""
        write = self.try_to_write(node, environment)
        assert write.outcome == "done", write
        assert write.revision is not None
        return write.revision

    @contextmanager
    def measured(self, what: str) -> Iterator[None]:
        """Say how long the block took. Nothing is expected of it: machines differ."""
        began = time.monotonic()
        yield
        print(f"measured: {what}: {time.monotonic() - began:.2f} s")

    # What can be seen from outside.

    def ready(self, node: Node) -> Answer:
        """What a node says of its health."""
        return _get(f"{node.server.url}/health/ready")

    def health(self, node: Node) -> dict[str, Any]:
        """The same, its parts; empty if it does not answer."""
        try:
            found: dict[str, Any] = self.ready(node).json
        except urllib3.exceptions.HTTPError:
            return {}
        return found

    def snapshot(self, node: Node, environment: str = "production", *, key: str | None = None) -> Answer:
        """What a node gives to an SDK that asks for everything."""
        key = key or self.nodes[0].server.sdk_key(environment)
        return _get(f"{node.server.url}/sdk/v1/snapshot", Authorization=f"Bearer {key}")

    def revision(self, node: Node, environment: str = "production") -> int:
        """What a node is serving."""
        found: int = self.snapshot(node, environment).json["revision"]
        return found

    def copied(self, environment: str = "production") -> int:
        """The revision of the copy in Redis, 0 if there is none."""
        with redis.Redis.from_url(self.redis.url) as client:
            return int(client.hget(f"fader:standby:default:{environment}", "revision") or 0)

    def answers_more(self, count: int) -> None:
        """Wait until applications have been given so many more answers, by whatever SDKs they have: no default among
        them."""
        wanted = self._answers() + count
        wait_for(lambda: self._answers() >= wanted, "SDKs to answer")

    def _answers(self) -> int:
        return sum(path.read_bytes().count(_SAMPLE) for path in self._folder.glob("sdk.*.jsonl"))

    # How it ends.

    def recovers(self) -> float:
        """Everything works again, by itself: all nodes are well, all followers arrive, writing works everywhere; and
        nothing that anybody saw since the cluster was started was wrong.

        Returns:
            Seconds until all nodes said that all is well.
        """
        began = time.monotonic()
        for node in self.nodes:
            wait_for(
                lambda node=node: self.health(node).get("status") == "ok",  # type: ignore[misc]
                f"node {node.number} to be well; it says {self.health(node)}",
            )
        seconds = time.monotonic() - began
        # First without another write, whose announcement would bring everybody up to date.
        self.followers_arrive()
        for node, environment in itertools.product(self.nodes, ENVIRONMENTS):
            self.write(node, environment)
        self.followers_arrive()
        found = self.violations()
        shown = "\n".join(str(violation) for violation in found[:10])
        assert not found, f"{len(found)} violations; the history is in {self._folder}:\n{shown}"
        print(f"measured: memory of each node: {', '.join(f'{node.memory() / 1e6:.0f} MB' for node in self.nodes)}")
        return seconds

    def followers_arrive(self) -> None:
        """Wait until everybody who follows has come to the newest revision, or given up: ``recovers`` looks at that."""
        waypoint = Waypoint(revisions=read_revisions(self.postgres, self.database), patience=PATIENCE)
        for followers in (self.streams, self.sdks):
            followers.tell(waypoint)
        for followers in (self.streams, self.sdks):
            followers.arrived()

    def violations(self) -> list[Violation]:
        """What is wrong with all that anybody has seen, and with the servers."""
        found = check_history(
            read_log(self.postgres, self.database),
            read_revisions(self.postgres, self.database),
            read_history(sorted(self._folder.glob("*.jsonl"))),
        )
        server = self.nodes[0].server
        secrets = [server.admin_token, self.postgres.password, self.redis.password]
        secrets += [server.sdk_key(environment).partition(".")[2] for environment in ENVIRONMENTS]
        for node, before in zip(self.nodes, self._memory, strict=True):
            text = node.server.log.read_text(errors="replace")
            found += check_server_log(f"node {node.number}", text, secrets)
            found += check_memory(f"node {node.number}", before, node.memory(), ALLOWED_MEMORY)
        return found


def _another_rule(environment: str) -> Request:
    """Always makes a difference: rules get names of their own."""
    path = f"/projects/default/flags/{BOOLEANS[0]}/environments/{environment}/rollout"
    body = {"percentage": random.randrange(0, 100_001) / 1000}
    return Request(method="POST", path=path, body=body, environments=(environment,))


def _get(url: str, **headers: str) -> Answer:
    answer = urllib3.request("GET", url, headers=headers, retries=False, timeout=_GIVE_UP_SECONDS)
    return Answer(answer.status, answer.headers, answer.data)


@contextmanager
def running_cluster(folder: Path, *, nodes: int = 2, **environment: str) -> Iterator[Cluster]:
    """A cluster for the time of a ``with`` block.

    Args:
        folder: A temporary one.
        nodes: How many servers.
        environment: Variables for the servers.
    """
    with ExitStack() as stack:
        yield Cluster(folder, stack, nodes, environment)
