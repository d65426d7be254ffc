"""Clients of two nodes on one PostgreSQL, heard through Redis: each is counted once, wherever it is and speaks."""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from processes import ServerProcess, wait_for
from sdk_process import SdkProcess
from services.postgres import PostgresDatabases
from services.redis_server import RedisServer


class Nodes:
    """Two nodes, an environment of which nobody has heard, and the processes that follow it."""

    def __init__(self, here: ServerProcess, there: ServerProcess) -> None:
        self.here, self.there, self.both = here, there, [here, there]
        self.stack = ExitStack()
        self._environment = f"e-{uuid.uuid4().hex[:8]}"
        here.admin.ok("POST", "/projects/default/environments", {"key": self._environment})
        made = here.admin.ok("POST", "/projects/default/keys", {"name": "sdk", "environment": self._environment})
        self._key: str = made["secret"]
        self._flag = f"flag-{uuid.uuid4().hex[:8]}"
        here.admin.create_flag(self._flag)
        self._is_on = False

    def starts(self, at: ServerProcess, name: str, speaks_to: ServerProcess | None = None) -> SdkProcess:
        """A process that has acknowledged what it was given first."""
        process = SdkProcess(at, self._key, name)
        self.stack.callback(lambda: process.stream.close())
        process.says(process.revision, to=speaks_to)
        return process

    def change(self) -> int:
        """Change something, and say which revision that is."""
        self._is_on = not self._is_on
        verb = "on" if self._is_on else "off"
        revision: int = self.here.admin.verb(self._flag, verb, environment=self._environment)["revision"]
        return revision

    def clients(self, node: ServerProcess) -> Any:
        return node.admin.ok("GET", f"/projects/default/environments/{self._environment}/clients")["items"]

    def told(self, node: ServerProcess, revision: int | None = None) -> Any:
        query = "" if revision is None else f"?revision={revision}"
        return node.admin.ok("GET", f"/projects/default/environments/{self._environment}/acknowledgements{query}")

    def missing(self, node: ServerProcess, revision: int) -> set[str]:
        """Their names."""
        return {client["instance"] for client in self.told(node, revision)["missing"]}

    def counts(self, node: ServerProcess, revision: int) -> dict[str, int]:
        """Those that are not 0."""
        told = self.told(node, revision)
        return {name: told[name] for name in ("applied", "waiting", "refused", "lost", "starting") if told[name]}

    def until(self, nodes: list[ServerProcess], revision: int, **wanted: int) -> None:
        """Wait until all of these nodes count so."""
        for node in nodes:
            wait_for(lambda node=node: self.counts(node, revision) == wanted, f"{wanted}", 15)


def hears_the_other(node: ServerProcess) -> bool:
    told = node.admin.ok("GET", "/projects/default/environments/production/acknowledgements")
    return bool(told["nodes"] == 2)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One of its own: it is stopped."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresDatabases, redis: RedisServer
) -> Iterator[list[ServerProcess]]:
    folder = tmp_path_factory.mktemp("nodes")
    shared = {"DATABASE_URL": postgres.create_database(), "REDIS_URL": redis.url, "FADER_REDIS_PREFIX": folder.name}
    here = ServerProcess(folder / "here", shared)
    found = [here, here.sibling(folder / "there")]
    try:
        for server in found:
            server.start()
        yield found
    finally:
        for server in found:
            server.close()


@pytest.fixture
def nodes(servers: list[ServerProcess]) -> Iterator[Nodes]:
    here, there = servers
    found = Nodes(here, there)
    with found.stack:
        for node in servers:
            wait_for(lambda node=node: hears_the_other(node), "the nodes to hear each other")
        yield found


def test_clients_are_counted_once_wherever_they_are_and_speak(nodes: Nodes) -> None:
    here, there = nodes.here, nodes.there
    first, second, third = nodes.starts(here, "first"), nodes.starts(here, "second"), nodes.starts(there, "third")
    revision = nodes.change()
    nodes.until(nodes.both, revision, waiting=3)
    everybody = {first.name, second.name, third.name}
    for node in nodes.both:
        document = nodes.told(node, revision)
        assert (document["scope"], document["nodes"], document["complete"]) == ("all nodes", 2, False)
        # A node names those who are behind when it serves the change itself.
        wait_for(lambda node=node: nodes.missing(node, revision) == everybody, "all of them to be named")

    # What clients say may come in anywhere.
    first.says(revision, to=there)
    second.says(revision, to=there, applied=False, error="no such operator")
    third.says(revision, to=here)
    nodes.until(nodes.both, revision, applied=2, refused=1)
    assert all(nodes.told(node, revision)["missing"][0]["error"] == "no such operator" for node in nodes.both)
    listed = [nodes.clients(node) for node in nodes.both]
    assert listed[0] == listed[1]
    assert {one["instance"]: one["node"] for one in listed[0]} == {
        process.name: process.node for process in (first, second, third)
    }
    second.leaves(to=there)
    nodes.until(nodes.both, revision, applied=2)
    assert all(nodes.told(node, revision)["complete"] for node in nodes.both)

    # One moves, and acknowledges at the node that has not heard of it yet.
    first.moves(there)
    revision = nodes.change()
    first.says(revision, to=here)
    third.says(revision, to=here)
    nodes.until(nodes.both, revision, applied=2)

    # One moves while its old stream has not been noticed to be broken.
    broken = third.stream
    nodes.stack.callback(broken.close)
    third.moves(here, is_noticed=False)
    nodes.until(nodes.both, revision, applied=2)
    broken.close()
    revision = nodes.change()
    first.says(revision, to=here)
    third.says(revision, to=there)
    nodes.until(nodes.both, revision, applied=2)


def test_a_node_that_serves_nobody_does_not_hold_up_the_rest(nodes: Nodes) -> None:
    # There, nobody follows this environment.
    process = nodes.starts(nodes.here, "one", speaks_to=nodes.there)
    revision = nodes.change()
    process.says(revision, to=nodes.there)
    wait_for(lambda: nodes.counts(nodes.here, revision) == {"applied": 1}, "the word to be passed on")
    wait_for(lambda: nodes.told(nodes.here, revision)["complete"], "the change to be complete", 10)


def test_without_redis_a_node_says_that_it_counts_alone(nodes: Nodes, redis: RedisServer) -> None:
    here, there = nodes.here, nodes.there
    first, second = nodes.starts(here, "first"), nodes.starts(there, "second")
    revision = nodes.change()
    nodes.until(nodes.both, revision, waiting=2)
    redis.kill()
    try:
        wait_for(lambda: nodes.told(here)["scope"] == "this node", "Redis to be missed")
        first.says(revision)
        document = nodes.told(here, revision)
        assert (document["applied"], document["waiting"], document["nodes"]) == (1, 0, 1)
        assert "only clients of one node are counted: others cannot be heard without Redis" in document["notes"]
    finally:
        redis.start()
    wait_for(lambda: nodes.told(here)["scope"] == "all nodes", "Redis to be back")
    nodes.until(nodes.both, revision, applied=1, waiting=1)
    second.says(revision, to=here)
    nodes.until(nodes.both, revision, applied=2)


def test_clients_of_a_dead_node_are_missed_until_they_are_heard_elsewhere(nodes: Nodes) -> None:
    here, there = nodes.here, nodes.there
    moves, stays = nodes.starts(here, "moves"), nodes.starts(there, "stays")
    revision = nodes.change()
    # A node names those who are behind when it serves the change itself.
    wait_for(lambda: nodes.missing(there, revision) == {moves.name, stays.name}, "both to be named")
    stays.says(revision)
    here.kill()
    nodes.until([there], revision, applied=1, lost=1)
    document = nodes.told(there, revision)
    assert document["missing"][0]["instance"] == moves.name
    assert any(moves.node in note for note in document["notes"])
    assert (document["nodes"], document["complete"]) == (1, False)
    moves.moves(there)
    nodes.until([there], revision, applied=1, waiting=1)
    moves.says(revision)
    nodes.until([there], revision, applied=2)
    document = nodes.told(there, revision)
    assert (document["complete"], document["notes"]) == (True, [])
