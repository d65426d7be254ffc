"""Several nodes on one PostgreSQL: whoever writes where, there is one history, and everybody follows it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from processes import PATIENCE, ServerProcess, wait_for
from raw_stream import RawStream
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases

WRITERS_A_NODE = 4
WRITES_A_WRITER = 25


@pytest.fixture(scope="module", params=["with Redis", "without"])
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresDatabases
) -> Iterator[list[ServerProcess]]:
    folder = tmp_path_factory.mktemp("nodes")
    shared = {"DATABASE_URL": postgres.create_database(), "FADER_POLL_SECONDS_WITHOUT_BUS": "0.1"}
    if request.param == "with Redis":
        redis_server: RedisDatabases = request.getfixturevalue("redis_server")
        # So long that only the bus can be the reason why a change arrives.
        shared |= {"REDIS_URL": redis_server.url, "FADER_REDIS_PREFIX": folder.name, "FADER_POLL_SECONDS": "60"}
    first = ServerProcess(folder / "0", shared)
    found = [first, first.sibling(folder / "1")]
    try:
        for node in found:
            node.start()
        yield found
    finally:
        for node in found:
            node.close()


class Reader:
    """Reads every prefix: after each event, what it has been told must be the history up to there, whole."""

    def __init__(self, node: ServerProcess) -> None:
        self.stream = RawStream(node)
        name, snapshot = self.stream.event()
        assert name == "snapshot"
        self.revision: int = snapshot["revision"]
        self.flags: dict[str, Any] = dict(snapshot["flags"])
        self.states: dict[int, dict[str, bool]] = {}

    def read_to(self, revision: int) -> None:
        while self.revision < revision:
            name, change = self.stream.event()
            assert name == "change"
            assert change["since"] == self.revision, "a revision is missing, doubled, or out of order"
            self.flags |= change["flags"]
            self.revision = change["revision"]
            self.states[self.revision] = {
                key: flag.get("enabled", False) for key, flag in self.flags.items() if flag is not None
            }

    def close(self) -> None:
        self.stream.close()


def _history(node: ServerProcess) -> dict[int, dict[str, Any]]:
    entries: dict[int, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = node.admin.ok("GET", f"/projects/default/changes?environment=production&limit=500{cursor}")
        for entry in page["items"]:
            assert entry["revision"] not in entries, "a revision is doubled"
            entries[entry["revision"]] = entry
        if page["next_cursor"] is None:
            return entries
        cursor = f"&cursor={page['next_cursor']}"


def test_many_writers_on_two_nodes_make_one_gapless_history(nodes: list[ServerProcess]) -> None:
    keys = [f"crowd-{number}" for number in range(3)]
    for key in keys:
        nodes[0].admin.create_flag(key)
    start = nodes[0].admin.ok("GET", "/projects/default/environments/production")["revision"]
    acknowledged: dict[int, tuple[str, bool]] = {}
    lock = threading.Lock()

    def write(number: int) -> None:
        node = nodes[number % len(nodes)]
        for round_ in range(WRITES_A_WRITER):
            key, is_on = keys[(number + round_) % len(keys)], (number + round_) % 2 == 0
            written = node.admin.verb(key, "on" if is_on else "off")
            if written["changed"]:
                with lock:
                    assert written["revision"] not in acknowledged, "two writers were given one revision"
                    acknowledged[written["revision"]] = (key, is_on)

    with closing(Reader(nodes[0])) as here, closing(Reader(nodes[1])) as there:
        for reader in (here, there):
            reader.read_to(start)
        with ThreadPoolExecutor(WRITERS_A_NODE * len(nodes) + 2) as pool:
            writing = [pool.submit(write, number) for number in range(WRITERS_A_NODE * len(nodes))]
            for done in writing:
                done.result(PATIENCE)
            top = nodes[1].admin.ok("GET", "/projects/default/environments/production")["revision"]
            for done in [pool.submit(reader.read_to, top) for reader in (here, there)]:
                done.result(PATIENCE)
        states = (here.states, there.states)

    history = _history(nodes[1])
    assert sorted(history) == list(range(1, top + 1)), "the history has a gap"
    assert set(acknowledged) == {revision for revision in history if revision > start}
    for revision, (key, is_on) in acknowledged.items():
        assert (history[revision]["key"], history[revision]["after"]["enabled"]) == (key, is_on)
    for told in states:
        _compare(told, history)


def _compare(told: dict[int, dict[str, bool]], history: dict[int, dict[str, Any]]) -> None:
    """What a reader was told at each revision is what the history says."""
    expected: dict[str, bool] = {}
    for revision in sorted(history):
        expected[history[revision]["key"]] = history[revision]["after"]["enabled"]
        if revision in told:
            assert {key: told[revision][key] for key in expected} == expected


def test_a_lost_update_is_refused_whichever_node_is_asked(nodes: list[ServerProcess]) -> None:
    nodes[0].admin.create_flag("contested")
    seen = nodes[1].admin.ok("GET", "/projects/default/flags/contested")["environments"]["production"]["revision"]
    path = "/projects/default/flags/contested/environments/production/rollout"
    answers = []
    with ThreadPoolExecutor(8) as pool:
        tries = [
            pool.submit(
                nodes[number % 2].admin.request,
                "POST",
                path,
                {"percentage": number + 1},
                headers={"If-Match": f'"{seen}"'},
            )
            for number in range(8)
        ]
        answers = [done.result(PATIENCE) for done in tries]
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7
    refused = next(answer for answer in answers if answer.status == 412)
    assert refused.json["type"] == "urn:fader:problem:precondition-failed"


def test_a_key_revoked_on_one_node_is_refused_by_the_others(nodes: list[ServerProcess]) -> None:
    made = nodes[0].admin.ok("POST", "/projects/default/keys", {"name": "short-lived", "environment": "production"})
    streams = [RawStream(node, key=made["secret"]) for node in nodes]
    for stream in streams:
        stream.event()
    nodes[0].admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
    for stream in streams:
        assert stream.rest()[-1][0] == "goodbye"
        stream.close()
    for node in nodes:
        wait_for(lambda node=node: _status(node, made["secret"]) == 401, "the key to be refused")


def _status(node: ServerProcess, key: str) -> int:
    stream = RawStream(node, key=key)
    stream.close()
    return stream.status


def test_an_environment_that_is_removed_is_gone_everywhere(nodes: list[ServerProcess]) -> None:
    nodes[0].admin.ok("POST", "/projects/default/environments", {"key": "passing"})
    made = nodes[0].admin.ok("POST", "/projects/default/keys", {"name": "passing", "environment": "passing"})
    streams = [RawStream(node, key=made["secret"]) for node in nodes]
    for stream in streams:
        stream.event()
    nodes[1].admin.ok("DELETE", "/projects/default/environments/passing")
    for stream in streams:
        assert stream.rest()[-1][0] == "goodbye"
        stream.close()
