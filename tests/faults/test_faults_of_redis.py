"""Redis that dies, falls silent, is slow or cut off: nothing is lost, and what the bus does not tell is looked up."""

import time
from collections.abc import Iterator

import pytest

from faults.cluster import Cluster, running_cluster
from faults.testbed import Node
from processes import wait_for

pytestmark = pytest.mark.xdist_group("faults-of-redis")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # So long that only the bus, or the knowledge that it is away, can be the reason why a change arrives.
    with running_cluster(tmp_path_factory.mktemp("redis"), FADER_POLL_SECONDS="60") as running:
        yield running


def arrives(cluster: Cluster, here: Node, there: Node) -> float:
    """What is written at one node reaches the other; the seconds from the answer on."""
    revision = cluster.write(here)
    began = time.monotonic()
    wait_for(lambda: cluster.revision(there) >= revision, "a change to reach the other node")
    return time.monotonic() - began


def knows_that_the_bus_is(cluster: Cluster, state: str, *nodes: Node) -> None:
    for node in nodes:
        wait_for(lambda node=node: cluster.health(node)["bus"] == state, f"the bus to be {state} for {node.number}")
        ready = cluster.ready(node)
        assert (ready.status, ready.json["database"]) == (200, "ok")


def test_it_dies_and_comes_back_empty(cluster: Cluster) -> None:
    here, there = cluster.nodes
    with cluster.writing() as written:
        cluster.redis.kill()
        with cluster.measured("Redis, kill: until all nodes have noticed"):
            knows_that_the_bus_is(cluster, "degraded", here, there)
        slowest = max(arrives(cluster, here, there) for _ in range(5))
        print(f"measured: Redis, kill: from a write at one node to the other, by asking, at most: {slowest:.2f} s")
        newest = cluster.write(here)
        cluster.redis.start()
        written.more(5)
    with cluster.measured("Redis, kill: from its start until all is well"):
        cluster.recovers()
    wait_for(lambda: cluster.copied() >= newest, "the copies to be there again")


def test_it_falls_silent(cluster: Cluster) -> None:
    here, there = cluster.nodes
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.to_redis.swallow()
        arrives(cluster, here, there)
        arrives(cluster, there, here)
        with cluster.measured("Redis, swallow: until all nodes have noticed"):
            knows_that_the_bus_is(cluster, "degraded", here, there)
        written.more(5)
        for node in cluster.nodes:
            node.to_redis.restore()
    cluster.recovers()


def test_it_is_slow(cluster: Cluster) -> None:
    """The bus is as late as Redis is, and nobody who writes waits for it."""
    here, there = cluster.nodes
    for node in cluster.nodes:
        node.to_redis.delay(0.15)
    with cluster.measured("Redis, 300 ms for each question: a write at one node reaches the other"):
        arrives(cluster, here, there)
    with cluster.writing() as written:
        written.more(10)
    for node in cluster.nodes:
        node.to_redis.restore()
    cluster.recovers()


def test_connections_to_it_are_cut(cluster: Cluster) -> None:
    here, there = cluster.nodes
    with cluster.writing() as written:
        for _ in range(3):
            cluster.together(*(node.to_redis.cut for node in cluster.nodes))
            arrives(cluster, here, there)
            written.more(3)
    cluster.recovers()


def test_one_node_cannot_reach_it(cluster: Cluster) -> None:
    well, ill = cluster.nodes
    with cluster.writing() as written:
        ill.to_redis.refuse()
        knows_that_the_bus_is(cluster, "degraded", ill)
        arrives(cluster, well, ill)
        written.more(3)
        # The other one cannot know that it is not told of everything: this is what its own asking is for.
        ill.to_redis.restore()
    cluster.recovers()


def test_everything_is_away_and_a_node_is_restarted(cluster: Cluster) -> None:
    """It starts, says that it is not ready, tells no SDK that its key is wrong, and becomes ready by itself."""
    node = cluster.nodes[1]
    cluster.redis.kill()
    cluster.postgres.kill()
    with cluster.measured("PostgreSQL and Redis away: from a node's start until it listens"):
        node.server.restart()
    ready = cluster.ready(node)
    assert (ready.status, ready.json["status"]) == (503, "starting")
    answer = cluster.snapshot(node)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert cluster.try_to_write(node).status == 503
    # The one that has run on answers from its memory.
    other = cluster.snapshot(cluster.nodes[0])
    assert (other.status, other.headers.get("Fader-Stale")) == (200, "true")
    cluster.postgres.start()
    with cluster.measured("PostgreSQL is back, Redis not: until the node is ready"):
        wait_for(lambda: cluster.ready(node).status == 200, "the node to be ready")
    cluster.write(node)
    cluster.redis.start()
    cluster.recovers()


def test_everything_dies_at_once_and_comes_back(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.server.kill()
        cluster.redis.kill()
        cluster.postgres.kill()
        cluster.together(*(node.server.start for node in cluster.nodes))
        for node in cluster.nodes:
            assert cluster.ready(node).status == 503
        cluster.postgres.start()
        cluster.redis.start()
        written.more(5)
    cluster.recovers()
