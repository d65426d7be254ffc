"""Servers that are killed, stopped, and started again."""

from collections.abc import Iterator

import pytest

from faults.cluster import Cluster, running_cluster

pytestmark = pytest.mark.xdist_group("faults of nodes")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("nodes"), nodes=3) as running:
        yield running


def test_a_node_is_killed_while_it_writes(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.server.kill()
            written.more(5)
            node.server.start()
            written.more(5)
    cluster.recovers()


def test_all_nodes_are_killed_and_come_back(cluster: Cluster) -> None:
    with cluster.writing() as written:
        for node in cluster.nodes:
            node.server.kill()
        cluster.together(*(node.server.start for node in cluster.nodes))
        written.more(5)
    cluster.recovers()
