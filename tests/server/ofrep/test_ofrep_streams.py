"""Streams that tell browsers of changes: opened by a token alone, which ends with its key, and is in no log."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream

ALL = "/ofrep/v1/evaluate/flags"
SHARES = itertools.cycle(range(1, 100))
Opening = Callable[..., RawStream]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(
        tmp_path_factory.mktemp("ofrep"),
        FADER_HEARTBEAT_SECONDS="0.2",
        FADER_POLL_SECONDS="0.5",
        FADER_MAX_STREAMS_PER_KEY="3",
        FADER_LOG_LEVEL="debug",
    ) as server:
        server.admin.create_flag("a")
        yield server


class Key:
    """A client key."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        body = {"name": "page", "environment": "production", "kind": "client"}
        issued = server.admin.ok("POST", "/projects/default/keys", body)
        self.id, self.secret = issued["id"], issued["secret"]

    def evaluate(self, query: str = "", **headers: str) -> urllib3.BaseHTTPResponse:
        sent = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json", **headers}
        url = f"{self._server.url}{ALL}{query}"
        return urllib3.request("POST", url, body=b"{}", headers=sent, retries=False, timeout=PATIENCE)

    @property
    def stream(self) -> str:
        """Where the server says that it tells of changes."""
        [stream] = self.evaluate().json()["eventStreams"]
        assert stream["type"] == "sse"
        uri: str = stream["endpoint"]["requestUri"]
        return uri

    def revoke(self) -> None:
        self._server.admin.ok("DELETE", f"/projects/default/keys/{self.id}")


@pytest.fixture
def key(server: ServerProcess) -> Key:
    return Key(server)


@pytest.fixture
def opened(server: ServerProcess) -> Iterator[Opening]:
    streams: list[RawStream] = []

    def open_stream(path: str, **headers: str) -> RawStream:
        # As a browser's EventSource, which can send no key.
        streams.append(RawStream(server, {"Authorization": "", **headers}, path))
        return streams[-1]

    yield open_stream
    for stream in streams:
        stream.close()


def change(server: ServerProcess) -> int:
    """Make something different, and return the revision."""
    revision: int = server.admin.verb("a", "rollout", {"percentage": next(SHARES)})["revision"]
    return revision


def refused(server: ServerProcess, path: str) -> dict[str, Any]:
    """What is said to somebody who gets no stream."""
    answer = urllib3.request("GET", f"{server.url}{path}", retries=False, timeout=PATIENCE)
    assert answer.headers["content-type"] == "application/json"
    said: dict[str, Any] = json.loads(answer.data)
    assert (said["errorCode"], bool(said["errorDetails"])) == ("GENERAL", True)
    return {"status": answer.status, **said}


def revision_of(event: tuple[str, Any]) -> int:
    return int(event[1]["etag"].rpartition("-")[2])


def announced(stream: RawStream, revision: int) -> tuple[str, Any]:
    """The event that tells of a revision; earlier ones may come before it."""
    event = stream.event()
    while revision_of(event) < revision:
        event = stream.event()
    return event


def test_each_change_is_announced(
    server: ServerProcess, key: Key, opened: Opening, conforms: Callable[[Any, str], None]
) -> None:
    stream = opened(key.stream)
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["access-control-allow-origin"] == "*"
    stream.event()
    for _ in range(2):
        revision = change(server)
        name, data = announced(stream, revision)
        assert name == "message"
        assert data["type"] == "refetchEvaluation"
        assert data["lastModified"] > 1_700_000_000
        conforms(data, "sseEventData")
        answer = key.evaluate(f"?flagConfigEtag={data['etag']}")
        assert answer.json()["metadata"]["revision"] >= revision


def test_who_has_heard_nothing_yet_asks_once_more_and_who_comes_back_does_not(
    server: ServerProcess, key: Key, opened: Opening
) -> None:
    first = opened(key.stream)
    etag = first.event()[1]["etag"]
    again = opened(key.stream, **{"Last-Event-ID": etag})
    revision = change(server)
    assert revision_of(again.event()) == revision
    behind = opened(key.stream, **{"Last-Event-ID": etag})
    assert revision_of(behind.event()) == revision


def test_a_quiet_stream_shows_that_it_lives(key: Key, opened: Opening) -> None:
    stream = opened(key.stream)
    stream.event()
    while stream.comments < 2:
        stream.chunk()


def test_with_the_key_its_streams_end_and_no_other_is_opened(server: ServerProcess, key: Key, opened: Opening) -> None:
    path, other = key.stream, Key(server)
    stream, others = opened(path), opened(other.stream)
    stream.event()
    others.event()
    key.revoke()
    assert stream.rest() == []
    assert refused(server, path)["status"] == 401
    assert announced(others, change(server))


def test_only_a_token_of_ours_opens_a_stream(server: ServerProcess, key: Key) -> None:
    path = key.stream
    other = "B" if path[-1] == "A" else "A"
    for wrong in (
        path[:-1] + other,
        path.partition("?")[0],
        f"{path.partition('=')[0]}={key.secret}",
        f"{path}{'A' * 2_000}",
        path.replace("token", "tocken"),
    ):
        assert refused(server, wrong)["status"] == 401, wrong


def test_a_key_has_so_many_streams_and_no_more(server: ServerProcess, key: Key, opened: Opening) -> None:
    streams = [opened(key.stream) for _ in range(3)]
    for stream in streams:
        stream.event()
    assert refused(server, key.stream)["status"] == 429
    streams[0].close()
    wait_for(lambda: opened(key.stream).status == 200, "a place")


def test_head_says_what_get_would(server: ServerProcess, key: Key) -> None:
    answer = urllib3.request("HEAD", f"{server.url}{key.stream}", retries=False, timeout=PATIENCE)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert urllib3.request("POST", f"{server.url}{key.stream}", retries=False, timeout=PATIENCE).status == 405


def test_neither_key_nor_token_is_in_the_log(server: ServerProcess, key: Key, opened: Opening) -> None:
    path = key.stream
    opened(path).event()
    refused(server, f"{path}x")
    token = path.partition("=")[2]
    wait_for(lambda: server.log.read_text().count("/ofrep/v1/stream") >= 2, "both lines")
    log = server.log.read_text()
    assert key.id not in log
    for secret in (token, token[:20], key.secret, key.secret[-20:]):
        assert secret not in log


def test_a_shutdown_says_when_to_come_again(server: ServerProcess, key: Key, opened: Opening) -> None:
    """The last test: the server is gone afterwards."""
    stream = opened(key.stream)
    stream.event()
    server.process.terminate()
    body = b""
    while not stream.is_over:
        body += stream.chunk()
    assert body.endswith(b"retry: 1000\n\n")
