"""Limits that are met by doing what is allowed too often: who is refused hears when to come back, and nobody else."""

import contextlib
import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import ServerProcess, running_server, wait_for
from raw_connection import RawAnswer, RawConnection
from raw_stream import RawStream
from scraping import scrape


def ask(server: ServerProcess, path: str, secret: str = "", **fields: str) -> RawAnswer:
    with RawConnection(server) as connection:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        connection.request(path, *([f"Authorization: Bearer {secret}"] if secret else []), *lines)
        return connection.answer()


def refusals(server: ServerProcess, limit: str) -> float:
    return scrape(server).sum("fader_admission_refused_total", limit=limit)


@pytest.fixture(scope="module")
def frugal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Sends two seconds' worth of snapshots at once: eight small ones."""
    with running_server(
        tmp_path_factory.mktemp("frugal"),
        FADER_SNAPSHOT_BYTES_PER_SECOND="65536",
        FADER_RESUMES_PER_SECOND="2",
        FADER_MAX_STREAMS_PER_KEY="20",
    ) as server:
        server.admin.create_flag("a")
        yield server


def test_snapshots_are_sent_at_a_bounded_rate_and_each_refused_client_comes_back_at_its_own_time(
    frugal: ServerProcess,
) -> None:
    began = time.monotonic()
    opened, refused = [], []
    for _ in range(40):
        stream = RawStream(frugal)
        (opened if stream.status == 200 else refused).append(stream)
    assert len(opened) >= 7
    assert {stream.status for stream in refused} == {503}
    waits = [int(stream.headers["retry-after"]) for stream in refused]
    assert min(waits) >= 1
    assert len(set(waits)) >= 4  # in whole seconds, and four come in each
    assert refusals(frugal, "snapshots") == len(refused)
    # Meanwhile there may be room for some more, but they come more quickly than room does.
    answers = (ask(frugal, "/sdk/v1/snapshot", frugal.sdk_key()) for _ in range(40))
    by_request = next(answer for answer in answers if answer.status != 200)
    assert by_request.status == 503
    assert by_request.json["type"] == "urn:fader:problem:busy"
    # It waits behind them all; but they have waited for a while already, and each is told whole seconds.
    assert int(by_request.headers["retry-after"]) > max(waits) - 1 - (time.monotonic() - began)

    # Whoever has a snapshot already is not concerned: it goes on, or hears that it is up to date.
    _, snapshot = opened[0].event()
    version = f"{snapshot['epoch']}-{snapshot['revision']}"
    assert ask(frugal, "/sdk/v1/snapshot", frugal.sdk_key(), If_None_Match=f'"{version}"').status == 304
    resumed = RawStream(frugal, headers={"Last-Event-ID": version})
    assert resumed.status == 200
    for stream in (*opened, *refused, resumed):
        stream.close()


def test_streams_that_go_on_are_opened_at_a_bounded_rate_of_their_own(frugal: ServerProcess) -> None:
    made = frugal.admin.ok("POST", "/projects/default/keys", {"name": "other", "environment": "production"})

    def version() -> str | None:
        answer = ask(frugal, "/sdk/v1/snapshot", made["secret"])
        return answer.headers["etag"].strip('"') if answer.status == 200 else None

    held = wait_for(version, "a snapshot")
    streams = [RawStream(frugal, headers={"Last-Event-ID": held}, key=made["secret"]) for _ in range(15)]
    statuses = [stream.status for stream in streams]
    assert statuses.count(200) >= 3
    assert statuses.count(503) >= 5
    assert refusals(frugal, "resumes") == statuses.count(503)
    for stream in streams:
        stream.close()


def test_a_key_may_have_so_many_streams_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_MAX_STREAMS_PER_KEY="3") as server, contextlib.ExitStack() as stack:
        streams = [stack.enter_context(contextlib.closing(RawStream(server))) for _ in range(3)]
        one_more = stack.enter_context(contextlib.closing(RawStream(server)))
        assert one_more.status == 429
        assert int(one_more.headers["retry-after"]) > 0
        other_key = stack.enter_context(contextlib.closing(RawStream(server, key=server.sdk_key("staging"))))
        assert other_key.status == 200
        assert refusals(server, "streams_per_key") == 1
        streams[0].close()

        def admitted() -> bool:
            return stack.enter_context(contextlib.closing(RawStream(server))).status == 200

        wait_for(admitted, "room for another stream")


def test_a_key_or_token_may_ask_so_often(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_ADMIN_REQUESTS_PER_SECOND="1", FADER_SDK_REQUESTS_PER_SECOND="2") as server:
        token = server.admin.ok("POST", "/tokens", {"name": "busy", "role": "viewer"})["secret"]
        for path, secret, quota in (("/api/v1/whoami", token, 10), ("/sdk/v1/snapshot", server.sdk_key(), 20)):
            answers = [ask(server, path, secret) for _ in range(2 * quota + 2)]
            # The first one is still a stranger's, and meanwhile some seconds may have passed.
            allowed = [answer.status for answer in answers].count(200)
            assert quota < allowed < 2 * quota
            beyond = answers[-1]
            assert beyond.status == 429
            assert beyond.headers["content-type"] == "application/problem+json"
            assert beyond.headers["ratelimit-policy"] == f'"requests_per_key";q={quota};w=10'
            assert beyond.headers["ratelimit"] == f'"requests_per_key";r=0;t={beyond.headers["retry-after"]}'
            assert int(beyond.headers["retry-after"]) >= 1
            assert beyond.json["request_id"] == beyond.headers["x-request-id"]
        # Nobody else is concerned, nor are streams.
        assert ask(server, "/sdk/v1/snapshot", server.sdk_key("staging")).status == 200
        assert ask(server, "/health/ready").status == 200
        stream = RawStream(server)
        assert stream.status == 200
        stream.close()
        assert refusals(server, "requests_per_key") > 10
        refused = [line for line in map(json.loads, server.log.read_text().splitlines()) if line.get("status") == 429]
        assert refused
        assert {line["path"] for line in refused} == {"/api/v1/whoami", "/sdk/v1/snapshot"}


def test_strangers_share_what_they_may_ask(tmp_path: Path) -> None:
    """Made-up keys keep neither the database busy nor those out who are known."""
    with running_server(tmp_path, FADER_ADMIN_REQUESTS_PER_SECOND="2") as server:
        assert ask(server, "/sdk/v1/snapshot", server.sdk_key()).status == 200
        statuses = [
            ask(server, f"/sdk/v1/{('snapshot', 'stream')[number % 2]}", f"default:production.made-up-{number}").status
            for number in range(60)
        ]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert set(statuses) == {401, 429}
        assert refusals(server, "strangers") > 0
        assert ask(server, "/sdk/v1/snapshot", server.sdk_key()).status == 200
        stream = RawStream(server)
        assert stream.status == 200
        stream.close()


def test_beyond_the_limit_of_connections_only_probes_are_answered(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_MAX_CONNECTIONS="10") as server, contextlib.ExitStack() as stack:
        assert ask(server, "/sdk/v1/snapshot", server.sdk_key()).status == 200
        streams = [stack.enter_context(contextlib.closing(RawStream(server))) for _ in range(10)]
        assert {stream.status for stream in streams} == {200}
        for path, secret in (
            ("/sdk/v1/stream", server.sdk_key()),
            ("/sdk/v1/snapshot", server.sdk_key()),
            ("/api/v1/whoami", server.admin_token),
        ):
            with RawConnection(server) as connection:
                connection.request(path, f"Authorization: Bearer {secret}")
                crowded = connection.answer()
                assert crowded.status == 503
                assert crowded.headers["connection"] == "close"
                assert int(crowded.headers["retry-after"]) >= 1
                assert connection.is_closed()
        assert ask(server, "/health/live").status == 200
        assert ask(server, "/health/ready").status == 200
        assert refusals(server, "connections") == 3
        streams[0].close()
        wait_for(lambda: ask(server, "/sdk/v1/snapshot", server.sdk_key()).status == 200, "room for another connection")


def test_beyond_the_reserve_for_probes_connections_are_closed_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path, FADER_MAX_CONNECTIONS="10") as server, contextlib.ExitStack() as stack:
        for _ in range(10 + 64):
            stack.enter_context(RawConnection(server))
        wait_for(lambda: stack.enter_context(RawConnection(server)).is_closed(), "a connection that is closed at once")


def test_the_server_says_which_limit_of_files_it_needs(tmp_path: Path) -> None:
    """The soft limit is raised. Where the hard one is too low, fewer connections are taken, and the log says so."""
    with running_server(tmp_path, FADER_MAX_CONNECTIONS="1000000") as server:
        assert ask(server, "/health/live").status == 200
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        possible = [line["connections"] for line in lines if "limit of open files" in line["event"]]
        assert len(possible) <= 1
        assert all(0 < count < 1_000_000 for count in possible)
        assert urllib.parse.urlsplit(server.url).port == server.port
