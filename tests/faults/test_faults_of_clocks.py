"""Clocks that are set while servers and SDKs run: what takes its time goes by another clock, which nobody sets; and
what is called by a date in the data has the date that the clock shows."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.clocks import adjustable, step
from faults.cluster import Cluster, running_cluster
from processes import running_server
from raw_stream import RawStream
from scraping import scrape
from sdk_contract.sdk_under_test import SdkProcess

pytestmark = pytest.mark.xdist_group("faults-of-clocks")

DAY = 86_400.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("clocks")
    with running_cluster(folder, **adjustable(folder / "clock")) as running:
        yield running


def oddest_change(cluster: Cluster) -> timedelta:
    """How far the date of one of the newest changes is off."""
    changes = cluster.nodes[1].server.admin.ok("GET", "/projects/default/changes?environment=production&limit=20")
    return max(abs(datetime.fromisoformat(change["at"]) - datetime.now(UTC)) for change in changes["items"])


@pytest.mark.parametrize("days", [400, -400])
def test_the_clock_of_one_server_is_set(cluster: Cluster, days: int) -> None:
    """Streams live on, keys and tokens stay good, and the log keeps its order, whatever the dates in it are."""
    node, other = cluster.nodes
    with closing(RawStream(node.server, key=cluster.nodes[0].server.sdk_key())) as stream:
        stream.event()
        ended = scrape(node.server).sum("fader_streams_ended_total")
        with cluster.writing() as written:
            step(node.server.folder, days * DAY)
            try:
                written.more(5)
                stream.follow(cluster.write(node))
                assert oddest_change(cluster) > timedelta(days=1)
                stream.follow(cluster.write(other))
                cluster.postgres.terminate_connections()
                written.more(5)
                assert cluster.snapshot(node).status == 200
            finally:
                step(node.server.folder, -days * DAY)
            written.more(5)
        stream.follow(cluster.write(node))
        assert scrape(node.server).sum("fader_streams_ended_total") == ended
    cluster.recovers()


def test_the_clock_of_an_application_is_set(tmp_path: Path) -> None:
    """Its flags are followed all the time; only a flag that asks for the date sees another one."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    settings = {"FADER_HEARTBEAT_SECONDS": "0.3"}
    home = tmp_path / "application"
    home.mkdir()
    with running_server(tmp_path / "server", **settings) as server:
        server.admin.create_flag("a")
        server.admin.create_flag("from-tomorrow-on")
        rule = {"id": "r", "constraints": [{"attribute": "current_time", "operator": "after", "values": [tomorrow]}]}
        path = "/projects/default/flags/from-tomorrow-on/environments/production"
        server.admin.ok("PUT", path, {"enabled": True, "rules": [rule]})
        with SdkProcess(env=adjustable(tmp_path / "clock"), cwd=home) as sdk:
            client = sdk.create(server.url, sdk_key=server.sdk_key(), cache_dir=str(tmp_path / "copies"))
            assert client.wait()
            assert not client.is_enabled("from-tomorrow-on")
            ended = scrape(server).sum("fader_streams_ended_total")
            for days, is_on in ((2, True), (-402, False), (1000, True)):
                step(home, days * DAY)
                assert client.is_enabled("from-tomorrow-on") is is_on
                for verb in ("on", "off"):
                    client.follows(server.admin.verb("a", verb)["revision"])
            assert scrape(server).sum("fader_streams_ended_total") == ended
            client.close()
            assert sdk.logs() == []
