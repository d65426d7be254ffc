"""Three nodes behind a load balancer are restarted one after the other, as every upgrade does: nobody notices."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from command_line import Done, program
from fader import Client, EvaluationDetails
from processes import PATIENCE, ServerProcess, wait_for
from services.load_balancer import LoadBalancer, balanced
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases

NODES = 3
CLIENTS = 24
PAUSE = 0.2
"""Seconds between switching there and back and doing so again: the cores are there for the restarts, too."""


class Observer:
    """An SDK in an application that asks all the time: its revisions never go back, its answers never fail."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answers: list[EvaluationDetails[bool]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(0.005):
            answer = self.client.evaluate("rolling", "user", default=False)
            if not self.answers or answer.revision != self.answers[-1].revision:
                self.answers.append(answer)

    def has_seen(self, revision: int) -> bool:
        return self.answers[-1].revision == revision

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


class Pipeline:
    """Somebody who switches the flag by the command line, again and again, and never sees it fail."""

    def __init__(self, url: str, token: str, folder: Path) -> None:
        self.written: dict[int, bool] = {}
        self.failed: list[Done] = []
        self._environment = {"FADER_URL": url, "FADER_TOKEN": token, "FADER_CONFIG_DIR": str(folder)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._stop.wait(PAUSE):
            for verb in ("off", "on"):
                done = program(verb, "rolling", "-e", "production", "--json", **self._environment)
                if done.code == 0:
                    self.written[json.loads(done.out)["revision"]] = verb == "on"
                else:
                    self.failed.append(done)

    def writes_more(self, count: int) -> None:
        """Wait until it has written so often once more."""
        wanted = len(self.written) + count
        wait_for(lambda: len(self.written) >= wanted, "more writes")

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)


@pytest.fixture
def nodes(tmp_path: Path, postgres: PostgresDatabases, redis_server: RedisDatabases) -> Iterator[list[ServerProcess]]:
    shared = {
        "DATABASE_URL": postgres.create_database(),
        "REDIS_URL": redis_server.url,
        "FADER_REDIS_PREFIX": f"rolling-{time.time_ns()}",
        "FADER_DRAIN_SECONDS": "0.5",
    }
    first = ServerProcess(tmp_path / "0", shared)
    found = [first, *(first.sibling(tmp_path / str(number)) for number in range(1, NODES))]
    try:
        for node in found:
            node.start()
        yield found
    finally:
        for node in found:
            node.close()


@pytest.fixture
def balancer(nodes: list[ServerProcess]) -> Iterator[LoadBalancer]:
    with balanced([node.port for node in nodes]) as balancer:
        wait_for(lambda: all(balancer.is_ready(node.port) for node in nodes), "all nodes to be ready")
        yield balancer


def test_a_rolling_restart_is_noticed_by_nobody(
    nodes: list[ServerProcess], balancer: LoadBalancer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = nodes[0]
    first.admin.create_flag("rolling")
    started = first.admin.verb("rolling", "on")["revision"]
    caplog.set_level(logging.INFO, "fader")
    with ExitStack() as stack:
        observers = [_observer(stack, balancer.url, first.sdk_key(), started) for _ in range(CLIENTS)]
        pipeline = stack.enter_context(closing(Pipeline(balancer.url, first.admin_token, tmp_path / "config")))
        pipeline.writes_more(2)
        for node in nodes:
            assert node.terminate() == 0
            node.start()
            wait_for(lambda node=node: balancer.is_ready(node.port), "the node to be ready again")
            pipeline.writes_more(2)
        pipeline.close()
        assert pipeline.failed == []
        for observer in observers:
            wait_for(lambda observer=observer: observer.has_seen(max(pipeline.written)), "every SDK to be up to date")
    for observer in observers:
        _check(observer.answers, pipeline.written)
    said = [record for record in caplog.records if record.name.startswith("fader") and record.levelno > logging.INFO]
    assert [record.getMessage() for record in said] == []
    for node in nodes:
        lines = [json.loads(line) for line in node.log.read_text().splitlines()]
        # 503 asks to come again, and that was done.
        statuses = Counter(line["status"] for line in lines if line["event"] == "request")
        assert not any(status >= 500 and status != 503 for status in statuses), statuses


def _observer(stack: ExitStack, url: str, sdk_key: str, revision: int) -> Observer:
    client = stack.enter_context(Client(url=url, sdk_key=sdk_key, cache_dir=None, usage=False))
    wait_for(lambda: (client.revision or 0) >= revision, "the SDK to catch up")
    return stack.enter_context(closing(Observer(client)))


def _check(answers: list[EvaluationDetails[bool]], written: dict[int, bool]) -> None:
    revisions = [answer.revision or 0 for answer in answers]
    assert revisions == sorted(revisions)
    assert {answer.reason for answer in answers} <= {"STATIC", "DISABLED"}
    for answer in answers:
        assert answer.value is written.get(answer.revision or 0, answer.value), answer
