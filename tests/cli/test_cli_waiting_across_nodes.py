"""``--wait`` through a load balancer, while one of two nodes is killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Cli
from processes import ServerProcess, wait_for
from sdk_process import SdkProcess
from services.load_balancer import LoadBalancer, balanced
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases


@pytest.fixture
def nodes(tmp_path: Path, postgres: PostgresDatabases, redis_server: RedisDatabases) -> Iterator[list[ServerProcess]]:
    database = postgres.create_database()
    shared = {"DATABASE_URL": database, "REDIS_URL": redis_server.url, "FADER_REDIS_PREFIX": f"waiting-{tmp_path.name}"}
    first = ServerProcess(tmp_path / "0", shared)
    found = [first, first.sibling(tmp_path / "1")]
    try:
        for node in found:
            node.start()
        yield found
    finally:
        for node in found:
            node.close()


@pytest.fixture
def balancer(nodes: list[ServerProcess], unsigned: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadBalancer]:
    with balanced([node.port for node in nodes]) as balancer:
        wait_for(lambda: all(balancer.is_ready(node.port) for node in nodes), "both nodes to be ready")
        monkeypatch.setenv("FADER_URL", balancer.url)
        monkeypatch.setenv("FADER_TOKEN", nodes[0].admin_token)
        monkeypatch.setenv("FADER_ENVIRONMENT", "production")
        yield balancer


def counts_both(node: ServerProcess) -> bool:
    told = node.admin.ok("GET", "/projects/default/environments/production/acknowledgements")
    return bool(told["clients"] == 2)


def test_a_node_is_killed_and_its_client_goes_to_the_other(
    unsigned: Cli, nodes: list[ServerProcess], balancer: LoadBalancer
) -> None:
    stays, dies = nodes
    stays.admin.create_flag("a")
    obedient, mover = SdkProcess(stays, stays.sdk_key(), "obedient"), SdkProcess(dies, stays.sdk_key(), "mover")
    for process in (obedient, mover):
        process.says(process.revision)
    wait_for(lambda: all(map(counts_both, nodes)), "both nodes to count both")
    waiting = unsigned.start("on", "a", "--wait", "--timeout", "60")
    try:
        revision = obedient.revision + 1
        obedient.says(revision)  # as soon as it comes
        dies.kill()
        wait_for(lambda: not balancer.is_ready(dies.port), "the load balancer to notice")
        told = unsigned("wait", str(revision), "--timeout", "1")
        assert (told.code, "1 of 2 SDKs have not confirmed it" in told.err) == (7, True), told
        mover.moves(stays)
        mover.says(revision)
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, (out, err)
        assert "applied by 2 / 2 SDKs" in out
    finally:
        waiting.kill()
        waiting.communicate()
        for process in (obedient, mover):
            process.stream.close()
