"""What the configured balancers do with streams, and with nodes that come and go."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from deploy.balancers import BALANCERS, balancing
from processes import PATIENCE, ServerProcess, wait_for
from raw_stream import RawStream
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases

pytestmark = pytest.mark.xdist_group("balancers")


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresDatabases, redis_server: RedisDatabases
) -> Iterator[list[ServerProcess]]:
    folder, database = tmp_path_factory.mktemp("nodes"), postgres.create_database()
    settings = {
        "DATABASE_URL": database,
        "REDIS_URL": redis_server.url,
        "FADER_REDIS_PREFIX": database.rpartition("/")[2],
        "FADER_DRAIN_SECONDS": "2",
    }
    first = ServerProcess(folder / "1", settings)
    found = [first, first.sibling(folder / "2")]
    try:
        for node in found:
            node.start()
        yield found
    finally:
        for node in found:
            node.close()


@pytest.fixture
def front(request: pytest.FixtureRequest, nodes: list[ServerProcess], tmp_path: Path) -> Iterator[ServerProcess]:
    """The nodes as one server, by the address of a balancer."""
    with balancing(request.param, nodes) as url:
        found = nodes[0].sibling(tmp_path / "front")
        found.url = url
        yield found
        found.close()


def get(url: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, retries=False, timeout=PATIENCE)


def streams(node: ServerProcess) -> int:
    count: int = get(f"{node.url}/health/ready").json()["streams"]
    return count


def new_flag(front: ServerProcess) -> tuple[str, int]:
    """A flag of its own for each test, switched on, and the revision that did so."""
    key = f"flag-{secrets.token_hex(4)}"
    front.admin.create_flag(key)
    return key, front.admin.verb(key, "on")["revision"]


every_balancer = pytest.mark.parametrize("front", BALANCERS, indirect=True)
one_of_each_kind = pytest.mark.parametrize("front", ["caddy of the compose file", "nginx of the how-to"], indirect=True)


@every_balancer
def test_events_pass_at_once_to_streams_that_are_spread_over_the_nodes(
    front: ServerProcess, nodes: list[ServerProcess]
) -> None:
    wait_for(lambda: not any(streams(node) for node in nodes), "earlier streams to be over")
    key, revision = new_flag(front)
    with ExitStack() as stack:
        open_streams = []
        for number in range(4):
            open_streams.append(RawStream(front))
            stack.callback(open_streams[-1].close)
            open_streams[-1].follow(revision)
            wait_for(lambda: sum(map(streams, nodes)) == number + 1, "the stream to be counted")  # noqa: B023
        assert [streams(node) for node in nodes] == [2, 2]
        revision = front.admin.verb(key, "off")["revision"]
        for stream in open_streams:
            # A balancer that gathers bytes would keep this back until the stream ends, which it never does.
            assert stream.follow(revision)[-1][0] == "change"


@every_balancer
def test_metrics_are_not_for_everybody(front: ServerProcess) -> None:
    assert get(f"{front.url}/metrics").status == 404


@one_of_each_kind
def test_a_node_that_ends_is_left_without_a_failed_request(front: ServerProcess, nodes: list[ServerProcess]) -> None:
    key, _ = new_flag(front)
    failed: list[object] = []
    done, is_over = threading.Semaphore(0), threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            for verb in ("off", "on"):
                answer = front.admin.request("POST", f"/projects/default/flags/{key}/environments/production/{verb}")
                if answer.status != 200:
                    failed.append(answer)
            done.release()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(5):
            assert done.acquire(timeout=PATIENCE)
        assert nodes[0].terminate() == 0
        for _ in range(5):
            assert done.acquire(timeout=PATIENCE)
    finally:
        is_over.set()
        asking.join(PATIENCE)
        if nodes[0].process.poll() is not None:
            nodes[0].start()
    assert not failed


@one_of_each_kind
def test_a_node_that_is_killed_is_passed_over(front: ServerProcess, nodes: list[ServerProcess]) -> None:
    key, revision = new_flag(front)
    nodes[1].kill()
    try:
        for _ in range(10):
            assert get(f"{front.url}/health/live").status == 200
        stream = RawStream(front)
        try:
            stream.follow(revision)
            assert stream.follow(front.admin.verb(key, "off")["revision"])[-1][0] == "change"
        finally:
            stream.close()
    finally:
        nodes[1].start()
