"""PostgreSQL that is stopped, killed, cut off, slow, or silent: SDKs are answered all the same, and writes are refused
until it is back, or succeed if it was only a moment."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from faults.cluster import Cluster, running_cluster
from faults.testbed import Node
from faults.writers import ENVIRONMENTS
from processes import Answer, wait_for
from raw_stream import RawStream

pytestmark = pytest.mark.xdist_group("faults-of-postgresql")

UNAVAILABLE = "urn:fader:problem:unavailable"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("postgres")) as running:
        yield running


def is_stale(answer: Answer) -> bool:
    assert answer.status == 200, answer
    return answer.headers.get("Fader-Stale") == "true"


def goes_stale(cluster: Cluster, *nodes: Node) -> None:
    """These nodes notice that the database is away: they say so, refuse writes, and answer SDKs."""
    for node in nodes:
        wait_for(lambda node=node: is_stale(cluster.snapshot(node)), f"node {node.number} to notice")
        ready = cluster.ready(node)
        assert (ready.status, ready.json["status"], ready.json["database"]) == (200, "degraded", "degraded")
        refused = cluster.try_to_write(node)
        assert (refused.status, refused.outcome) == (503, "unchanged"), refused


def is_current_again(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert not is_stale(cluster.snapshot(node))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_it_ends_and_is_started_again(cluster: Cluster, end: str) -> None:
    with cluster.writing() as written:
        getattr(cluster.postgres, end)()
        with cluster.measured(f"PostgreSQL, {end}: until all nodes have noticed"):
            goes_stale(cluster, *cluster.nodes)
        with cluster.measured(f"PostgreSQL, {end}: from its start until five writes"):
            cluster.postgres.start()
            written.more(5)
    with cluster.measured(f"PostgreSQL, {end}: until all is well"):
        cluster.recovers()
    is_current_again(cluster)


def test_it_is_restarted_in_a_moment(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for _ in range(2):
            cluster.postgres.stop()
            cluster.postgres.start()
            written.more(5)
    cluster.recovers()


def test_its_connections_are_terminated(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for _ in range(5):
            assert cluster.postgres.terminate_connections() > 0
            written.more(3)
    cluster.recovers()


def test_it_is_slow(cluster: Cluster) -> None:
    for node in cluster.nodes:
        node.to_postgres.delay(0.15)
    with cluster.measured("PostgreSQL, 300 ms for each question: two writes at once"):
        cluster.together(*(partial(cluster.write, *where) for where in zip(cluster.nodes, ENVIRONMENTS, strict=True)))
    for node in cluster.nodes:
        assert not is_stale(cluster.snapshot(node))
        node.to_postgres.restore()
    cluster.recovers()


def test_the_network_to_it_is_cut(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for _ in range(3):
            cluster.together(*(node.to_postgres.cut for node in cluster.nodes))
            written.more(3)
    cluster.recovers()


@pytest.mark.parametrize("how", ["refuse", "swallow"])
def test_one_node_cannot_reach_it(cluster: Cluster, how: str) -> None:
    """The others are not held up, and those who follow the one that is cut off catch up afterwards."""
    well, ill = cluster.nodes
    with cluster.writing() as written:
        getattr(ill.to_postgres, how)()
        with cluster.measured(f"PostgreSQL, {how}: until the node has noticed"):
            goes_stale(cluster, ill)
        with cluster.measured(f"PostgreSQL, {how}: a write that is refused then"):
            assert cluster.try_to_write(ill).status == 503
        for _ in range(3):
            cluster.write(well)
        assert not is_stale(cluster.snapshot(well))
        written.more(3)
        ill.to_postgres.restore()
    with cluster.measured(f"PostgreSQL, {how}: until all is well"):
        cluster.recovers()
    is_current_again(cluster)


def test_a_refusal_says_what_is_the_matter(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    cluster.postgres.kill()
    goes_stale(cluster, node)
    refused = node.server.admin.request("POST", "/projects/default/flags/switch-0/environments/production/on", {})
    assert (refused.status, refused.json["type"]) == (503, UNAVAILABLE)
    assert "nothing was changed" in refused.json["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    cluster.postgres.start()
    cluster.recovers()


def test_a_node_is_restarted_while_it_is_away(cluster: Cluster) -> None:
    """It answers SDKs from the copy in Redis, and never tells one of them that its key is wrong."""
    newest = cluster.write(cluster.nodes[0])
    wait_for(lambda: cluster.copied() >= newest, "the copy in Redis to be up to date")
    cluster.postgres.kill()
    with cluster.measured("PostgreSQL away: from a node's start until it answers from the copy"):
        node = cluster.nodes[1]
        node.server.restart()
        answer = cluster.snapshot(node)
    assert is_stale(answer)
    assert answer.json["revision"] == newest
    ready = cluster.ready(node)
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    unknown = cluster.snapshot(node, key="default:production.this-is-no-key-of-ours")
    assert unknown.status == 503, "nobody can know whether it is valid"
    with closing(RawStream(node.server, key=cluster.nodes[0].server.sdk_key())) as stream:
        assert stream.headers["fader-stale"] == "true"
        assert stream.event()[1]["revision"] == newest
        cluster.postgres.start()
        cluster.recovers()
        stream.follow(cluster.revision(node))
    is_current_again(cluster)
