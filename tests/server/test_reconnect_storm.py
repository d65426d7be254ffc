"""All clients lose their server at once: they come back as fast as it lets them in, miss nothing, and are never left
without answers. (``loadtests/reconnect_storm.py`` is the same with ten thousand, and with a clock.)"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowds.orders import Program
from processes import ServerProcess, running_server, wait_for
from scraping import scrape

STREAMS = 300
QUICK = json.dumps({"backoff_first": 0.2, "backoff_longest": 1.0})


class Storm:
    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.crowd = Program("many_streams", server.url, server.sdk_key(), QUICK)
        self.application = Program("evaluating_sdk", server.url, server.sdk_key(), "label", "default")

    def all_back(self) -> dict[str, Any]:
        """Wait until all streams have come back since the last mark, and follow."""

        def report() -> Any:
            found = self.crowd.ask("report")
            return found["back"] >= STREAMS and found["current"] == STREAMS and found

        found: dict[str, Any] = wait_for(report, "all streams to come back")
        assert found["violations"] == []
        return found

    def all_follow(self) -> None:
        """A change reaches everybody, also the application."""
        revision = self.server.admin.verb("a", "on")["revision"]
        revision = self.server.admin.verb("a", "off")["revision"]
        wait_for(lambda: self.crowd.ask("report")["revisions"] == {str(revision): STREAMS}, "a change to reach all")
        wait_for(lambda: self.application.ask("report")["revision"] == revision, "it to reach the application")

    def application_was_never_without_answers(self) -> None:
        report = self.application.ask("report")
        assert report["evaluations"] > 0
        assert report["wrong"] == 0


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    # A second's worth is 60 snapshots, or 100 streams that go on; twice as many may come at once.
    with running_server(
        tmp_path, FADER_SNAPSHOT_BYTES_PER_SECOND="1000000", FADER_RESUMES_PER_SECOND="60", FADER_POLL_SECONDS="0.5"
    ) as server:
        server.admin.create_flag("a")
        variants = [{"name": "served", "value": "served"}]
        server.admin.create_flag("label", type="string", variants=variants, off_variant="served")
        storm = Storm(server)
        with contextlib.closing(storm.crowd), contextlib.closing(storm.application):
            yield storm
        assert "Traceback" not in server.log.read_text()


def test_all_come_back_miss_nothing_and_are_never_without_answers(storm: Storm) -> None:
    server, crowd = storm.server, storm.crowd
    storm.application.ask("mark")

    crowd.ask("open", count=STREAMS)
    found = storm.all_back()
    assert found["outcomes"]["503"] >= STREAMS / 4
    assert scrape(server).sum("fader_admission_refused_total", limit="snapshots") == found["outcomes"]["503"]
    storm.all_follow()

    crowd.ask("mark")
    crowd.ask("cut")
    for verb in ("on", "off") * 3:
        server.admin.verb("a", verb)
    found = storm.all_back()
    assert found["outcomes"]["cut"] == STREAMS
    # They have what they had, so none needs a snapshot.
    assert scrape(server).sum("fader_admission_refused_total", limit="resumes") == found["outcomes"].get("503", 0)
    storm.all_follow()

    crowd.ask("mark")
    server.restart()
    found = storm.all_back()
    assert found["outcomes"]["cut"] == STREAMS
    assert scrape(server).sum("fader_stream_events_total", event="snapshot") == 0
    storm.all_follow()
    storm.application_was_never_without_answers()
