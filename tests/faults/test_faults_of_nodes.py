"""Servers that are killed, stopped, or hang: somebody else answers, or the SDKs themselves do; nothing acknowledged is
lost."""

from collections.abc import Iterator

import pytest

from faults.cluster import Cluster, running_cluster
from faults.testbed import paused

pytestmark = pytest.mark.xdist_group("faults-of-nodes")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("nodes"), nodes=3) as running:
        yield running


def test_nodes_are_killed_while_they_write(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.server.kill()
            written.more(5)
            node.server.start()
            written.more(2)
    cluster.recovers()


def test_all_nodes_are_killed_and_come_back(cluster: Cluster) -> None:
    """Applications are answered from memory, and those that start meanwhile from the copy on the disk."""
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.server.kill()
        cluster.answers_more(20)
        cluster.sdks.kill()
        cluster.sdks.start()
        cluster.answers_more(20)
        cluster.together(*(node.server.start for node in cluster.nodes))
        with cluster.measured("all nodes killed: from the start of all until five writes"):
            written.more(5)
    with cluster.measured("all nodes killed: until all is well"):
        cluster.recovers()


def test_a_node_hangs(cluster: Cluster) -> None:
    """Its connections stay open and say nothing: those who follow it go elsewhere."""
    ill, well, _ = cluster.nodes
    go_on = paused(ill.server.process.pid)
    try:
        with cluster.measured("a node hangs: until everybody who followed it is up to date elsewhere"):
            cluster.write(well)
            cluster.followers_arrive()
    finally:
        go_on()
    cluster.recovers()
