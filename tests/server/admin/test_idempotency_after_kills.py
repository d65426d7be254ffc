"""Servers that are killed between a commit and its answer, or at any other moment: what is tried again is not done
again."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import urllib3

from dying_server import die_after_the_next_commit, mortal
from fader_server.storage.migrate import migrate
from processes import PATIENCE, AdminApi, ServerProcess, running_server, wait_for
from services.postgres import PostgresDatabases

RULES = "/projects/default/flags/{}/environments/production/rules"
KILLS = 2
WRITERS = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """One server on SQLite, or two on one PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield [stack.enter_context(running_server(tmp_path, **mortal(tmp_path)))]
            return
        postgres: PostgresDatabases = request.getfixturevalue("postgres")
        url = postgres.create_database()
        asyncio.run(migrate(url))
        first = ServerProcess(tmp_path, {"DATABASE_URL": url} | mortal(tmp_path))
        second = first.sibling(tmp_path / "second")
        for node in (first, second):
            stack.callback(node.close)
            node.start()
        yield [first, second]


def test_a_node_that_dies_between_the_commit_and_the_answer(nodes: list[ServerProcess], tmp_path: Path) -> None:
    node, other = nodes[0], nodes[-1]
    node.admin.create_flag("f")
    die_after_the_next_commit(tmp_path)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with pytest.raises(urllib3.exceptions.HTTPError):
        node.admin.request("POST", RULES.format("f"), {"id": "once"}, headers=key)
    assert node.process.wait(PATIENCE) == -9
    if node is other:
        node.start()
    again = other.admin.request("POST", RULES.format("f"), {"id": "once"}, headers=key)
    assert (again.status, again.headers.get("Idempotency-Replayed")) == (201, "true"), again
    assert [rule["id"] for rule in again.json["flag"]["environments"]["production"]["rules"]] == ["once"]
    changes = other.admin.ok("GET", "/projects/default/changes?environment=production&flag=f")["items"]
    assert [change["action"] for change in changes] == ["rules", "created"]


class Writer(threading.Thread):
    """Rolls out a flag of its own to ever other shares, and tries each until it is answered, by turns at all nodes."""

    def __init__(self, nodes: list[ServerProcess], number: int, enough: threading.Event) -> None:
        super().__init__()
        self._nodes = nodes
        self._admins = [AdminApi(node) for node in nodes]
        self._enough = enough
        self.flag = f"f{number}"
        self.answered = 0
        self.tries = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._enough.is_set():
            self._roll_out()
        for admin in self._admins:
            admin.close()

    def _roll_out(self) -> None:
        path = f"/projects/default/flags/{self.flag}/environments/production/rollout"
        body = {"percentage": (self.answered % 1000) / 10}
        key = {"Idempotency-Key": f'"{uuid.uuid4()}"'}

        def answered() -> bool:
            admin = self._admins[self.tries % len(self._admins)]
            self.tries += 1
            try:
                answer = admin.request("POST", path, body, headers=key)
            except urllib3.exceptions.HTTPError:
                return False
            if answer.status == 200 and answer.json["changed"]:
                self.answered += 1
                return True
            if answer.status not in (409, 503):
                self.wrong.append(repr(answer))
            return False

        wait_for(answered, "an answer")


def test_kills_at_any_moment(nodes: list[ServerProcess]) -> None:
    enough = threading.Event()
    writers = [Writer(nodes, number, enough) for number in range(WRITERS)]
    for writer in writers:
        nodes[0].admin.create_flag(writer.flag)
        writer.start()

    def have_written(before: list[int]) -> bool:
        return all(writer.answered > number for writer, number in zip(writers, before, strict=True))

    try:
        for kill in range(KILLS):
            wait_for(partial(have_written, [writer.answered for writer in writers]), "writes")
            nodes[kill % len(nodes)].restart()
    finally:
        enough.set()
        for writer in writers:
            writer.join(PATIENCE)
    for writer in writers:
        assert writer.wrong == []
        changes = nodes[0].admin.ok(
            "GET", f"/projects/default/changes?environment=production&flag={writer.flag}&limit=500"
        )
        assert len(changes["items"]) == 1 + writer.answered
        assert writer.tries > writer.answered
    log = nodes[-1].admin.ok("GET", "/projects/default/changes?environment=production&limit=500")["items"]
    assert len(log) == WRITERS + sum(writer.answered for writer in writers)
    assert [change["revision"] for change in reversed(log)] == list(range(1, len(log) + 1))
