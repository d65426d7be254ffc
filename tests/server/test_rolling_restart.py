"""Three nodes behind a load balancer are restarted one after the other, as every upgrade does: nobody notices."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from command_line import program
from fader import Client, EvaluationDetails
from processes import PATIENCE, ServerProcess, wait_for
from services.load_balancer import LoadBalancer, balanced
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases

NODES = 3
CLIENTS = 24


class Observer:
    """An SDK in an application that asks all the time: its revisions never go back, its answers never fail."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answers: list[EvaluationDetails[bool]] = []
        self.connected: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stop.wait(0.005):
            answer = self.client.evaluate("rolling", "user", default=False)
            if not self.answers or answer.revision != self.answers[-1].revision:
                self.answers.append(answer)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self.client.close()


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
        observers = []
        for _ in range(CLIENTS):
            client = Client(url=balancer.url, sdk_key=first.sdk_key(), cache_dir=None, usage=False)
            stack.callback(client.close)
            assert client.wait_until_ready(PATIENCE)
            wait_for(lambda client=client: (client.revision or 0) >= started, "the SDK to catch up")
            observers.append(Observer(client))
            stack.callback(observers[-1].close)

        written: list[tuple[int, bool]] = []
        failed: list[object] = []
        is_over = threading.Event()

        def write() -> None:
            environment = {
                "FADER_URL": balancer.url,
                "FADER_TOKEN": first.admin_token,
                "FADER_CONFIG_DIR": str(tmp_path / "config"),
            }
            while not is_over.is_set():
                for verb in ("off", "on"):
                    done = program(verb, "rolling", "-e", "production", "--json", **environment)
                    if done.code == 0:
                        written.append((json.loads(done.out)["revision"], verb == "on"))
                    else:
                        failed.append(done)

        writer = threading.Thread(target=write)
        writer.start()
        stack.callback(writer.join, PATIENCE)
        stack.callback(is_over.set)
        wait_for(lambda: len(written) >= 2, "writes before the restart")
        for node in nodes:
            before = len(written)
            assert node.terminate() == 0
            node.start()
            wait_for(lambda node=node: balancer.is_ready(node.port), "the node to be ready again")
            wait_for(lambda before=before: len(written) >= before + 2, "writes while it is back")
        is_over.set()
        writer.join(PATIENCE)

        assert failed == []
        last, is_on = written[-1]
        for observer in observers:
            wait_for(lambda observer=observer: observer.client.revision == last, "every SDK to have the last change")
            wait_for(lambda observer=observer: observer.answers[-1].revision == last, "every SDK to answer by it")

    said = dict(written)
    for observer in observers:
        revisions = [answer.revision for answer in observer.answers]
        assert revisions == sorted(revisions)
        assert observer.answers[-1].value is is_on
        assert {answer.reason for answer in observer.answers} <= {"STATIC", "DISABLED"}
        for answer in observer.answers:
            if answer.revision in said:
                assert answer.value is said[answer.revision], answer
    complaints = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert complaints == []
    for node in nodes:
        log = node.log.read_text()
        assert "Traceback" not in log
        statuses = Counter(
            line.get("status") for line in map(json.loads, log.splitlines()) if line["event"] == "request"
        )
        assert not any(status >= 500 and status != 503 for status in statuses if status is not None), statuses
