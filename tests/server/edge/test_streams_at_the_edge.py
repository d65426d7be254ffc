"""Streams of clients that do not read, leave in odd ways, or ask for what never was; and what is said to them."""

import contextlib
import itertools
import socket
import threading
import uuid
from pathlib import Path

import pytest

from fader_server.listening import listening_socket
from fader_server.settings import read_settings
from processes import ServerProcess, running_server, wait_for
from raw_connection import RawConnection
from raw_stream import RawStream
from scraping import scrape


def streams(server: ServerProcess) -> int:
    with RawConnection(server) as connection:
        connection.request("/health/ready")
        count: int = connection.answer().json["streams"]
        return count


def ended(server: ServerProcess, reason: str) -> float:
    return scrape(server).sum("fader_streams_ended_total", reason=reason)


def authorised(server: ServerProcess) -> str:
    return f"Authorization: Bearer {server.sdk_key()}"


def change_much(server: ServerProcess, flag: str) -> int:
    """A change whose event has 800 KB; returns its revision."""
    big = [{"attribute": "x", "operator": "in", "values": ["y" * 900] * 90}] * 10
    rule = {"id": "big", "constraints": big, "description": uuid.uuid4().hex}
    path = f"/projects/default/flags/{flag}/environments/production"
    revision: int = server.admin.ok("PUT", path, {"enabled": True, "rules": [rule]})["revision"]
    return revision


def stuck(server: ServerProcess) -> RawStream:
    """A stream whose client will not read on, and whose kernel has little room."""
    stream = RawStream(server, receive_buffer=4096)
    stream.event()
    return stream


def test_a_stuck_reader_is_cut_off_and_gives_its_memory_back(tmp_path: Path) -> None:
    """Its task waits for it to read, so nothing that is said to the task helps: the connection itself is cut."""
    with running_server(tmp_path, FADER_STUCK_SECONDS="1", FADER_HEARTBEAT_SECONDS="0.2") as server:
        server.admin.create_flag("a")
        stream, well = stuck(server), RawStream(server)
        well.event()
        for _ in range(8):  # more than kernels buffer, less than may wait
            change_much(server, "a")
            assert well.event()[0] == "change"
        wait_for(lambda: streams(server) == 1, "the stuck reader to be forgotten")
        assert scrape(server).sum("fader_admission_refused_total", limit="stuck_reader") == 1
        assert ended(server, "too_slow") == 1
        stream.close()
        well.close()


def test_who_falls_far_behind_costs_nothing_and_catches_up_in_one_step(tmp_path: Path) -> None:
    """No message is kept for it: when it reads on, it gets what leads from where it is to the newest."""
    with running_server(tmp_path, FADER_STUCK_SECONDS="3600", FADER_MAX_BODY_BYTES="2000000") as server:
        server.admin.create_flag("a")
        stream = stuck(server)
        changes = 14
        for _ in range(changes):
            newest = change_much(server, "a")
        wait_for(lambda: scrape(server).sum("fader_streams_parked_total") == 1, "the stream to be parked")
        events = stream.follow(newest)
        assert len(events) < changes
        for (_, earlier), (_, later) in itertools.pairwise(events):
            assert later["since"] == earlier["revision"]
        assert scrape(server).sum("fader_streams_open") == 1
        stream.close()


def test_a_slow_reader_that_reads_is_not_cut_off(tmp_path: Path) -> None:
    """It takes several times as long as a reader may be stuck for, and never is."""
    with running_server(tmp_path, FADER_STUCK_SECONDS="1", FADER_HEARTBEAT_SECONDS="0.2") as server:
        server.admin.create_flag("a")
        change_much(server, "a")
        stream = RawStream(server, receive_buffer=4096, reads_at_most=4096, pause=0.015)
        name, snapshot = stream.event()
        assert (name, len(snapshot["flags"]["a"]["rules"])) == ("snapshot", 1)
        stream.close()


def test_who_stops_sending_in_the_midst_of_a_stream_has_left(strict: ServerProcess) -> None:
    before = ended(strict, "left")
    stream = RawStream(strict)
    stream.event()
    stream.socket.shutdown(socket.SHUT_WR)
    wait_for(lambda: ended(strict, "left") == before + 1, "the end of the stream to be noticed")
    stream.close()


def test_a_request_behind_a_stream_waits_and_holds_nothing_up(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/sdk/v1/stream", authorised(strict))
        connection.request("/health/live")
        assert connection.answer(has_body=False).headers["content-type"].startswith("text/event-stream")


def test_a_head_request_opens_no_stream(strict: ServerProcess) -> None:
    opened = scrape(strict).sum("fader_streams_opened_total")
    with RawConnection(strict) as connection:
        for _ in range(2):
            connection.request("/sdk/v1/stream", authorised(strict), method="HEAD")
            answer = connection.answer(has_body=False)
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        connection.request("/sdk/v1/snapshot", authorised(strict), method="HEAD")
        answer = connection.answer(has_body=False)
        assert int(answer.headers["content-length"]) > 0
        connection.request("/health/live")
        assert connection.answer().status == 200
    assert scrape(strict).sum("fader_streams_opened_total") == opened


def test_a_stream_says_what_its_first_event_brings_it_to(strict: ServerProcess) -> None:
    strict.admin.create_flag("told")
    strict.admin.verb("told", "on")
    whole = RawStream(strict)
    _, snapshot = whole.event()
    here = f"{snapshot['epoch']}-{snapshot['revision']}"
    assert whole.headers["fader-version"] == here
    level = RawStream(strict, headers={"Last-Event-ID": here})
    assert level.headers["fader-version"] == here
    behind = RawStream(strict, headers={"Last-Event-ID": f"{snapshot['epoch']}-{snapshot['revision'] - 1}"})
    assert behind.headers["fader-version"] == here
    assert behind.event()[1]["revision"] == snapshot["revision"]
    for stream in (whole, level, behind):
        stream.close()


@pytest.mark.parametrize(
    "last",
    ["9" * 900, "-", "\xff\xfe", "a-1,b-2", f"{'x' * 64}-{'9' * 18}", '"quoted"', "\x80" * 500, "e-1\te-2"],
    ids=ascii,
)
def test_a_last_event_id_that_makes_no_sense_brings_everything(strict: ServerProcess, last: str) -> None:
    with RawConnection(strict) as connection:
        connection.request("/sdk/v1/stream", authorised(strict), f"Last-Event-ID: {last}")
        assert connection.answer(has_body=False).status == 200
        wait_for(lambda: b"event: snapshot" in connection.peek(), "everything")


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip;q=0", None),
        ("identity, gzip;q=0.000", None),
        ("gzip;q=0, *", None),
        ("*;q=0", None),
        ("", None),
        ("GZIP ; q=0.5", "gzip"),
        ("br, gzip", "gzip"),
        ("*", "gzip"),
    ],
)
def test_a_snapshot_is_compressed_for_those_who_take_that(
    strict: ServerProcess, accepted: str, coding: str | None
) -> None:
    with RawConnection(strict) as connection:
        connection.request("/sdk/v1/snapshot", authorised(strict), f"Accept-Encoding: {accepted}")
        assert connection.answer().headers.get("content-encoding") == coding


def test_tags_may_come_in_several_headers(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/sdk/v1/snapshot", authorised(strict))
        etag = connection.answer().headers["etag"]
        for fields in (
            (f"If-None-Match: {etag}", 'If-None-Match: "other"'),
            (f'If-None-Match: "a", W/{etag} , "b"',),
            ("If-None-Match: *",),
        ):
            connection.request("/sdk/v1/snapshot", authorised(strict), *fields)
            answer = connection.answer(has_body=False)
            assert (answer.status, answer.headers["etag"]) == (304, etag)
        connection.request("/sdk/v1/snapshot", authorised(strict), 'If-None-Match: "other", garbage')
        assert connection.answer().status == 200


def test_a_server_listens_on_ipv6_as_well(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 here")
    with running_server(tmp_path, FADER_HOST="::") as server:
        for host in ("::1", "127.0.0.1"):
            with contextlib.closing(socket.create_connection((host, server.port), timeout=10)) as connection:
                connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: fader\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
def test_the_kernel_is_told_how_long_to_hope_for_a_client_that_has_vanished() -> None:
    """Its connection says nothing any more, not even that it is over. (To pull a cable is more than a test can do.)"""
    with contextlib.closing(
        listening_socket(read_settings({"FADER_PORT": "0", "FADER_STUCK_SECONDS": "20"}))
    ) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


def test_streams_that_are_opened_while_the_server_leaves_are_told_so(tmp_path: Path) -> None:
    """Whoever got in a moment too late for the goodbyes gets one of its own: none keeps the server waiting."""
    with running_server(tmp_path, FADER_SHUTDOWN_SECONDS="60") as server:
        done = threading.Event()
        odd: list[str] = []

        def come_and_go() -> None:
            while not done.is_set():
                try:
                    with contextlib.closing(RawStream(server)) as stream:
                        if stream.status == 200 and [name for name, _ in stream.rest()][-1:] != ["goodbye"]:
                            odd.append("a stream ended without goodbye")
                except (OSError, EOFError):
                    return

        comers = [threading.Thread(target=come_and_go) for _ in range(8)]
        for comer in comers:
            comer.start()
        wait_for(lambda: streams(server) == 8, "some streams")
        assert server.terminate() == 0
        done.set()
        for comer in comers:
            comer.join()
        assert odd == []
        assert "Cancel" not in server.log.read_text()
