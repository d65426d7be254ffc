"""Snapshots are answered by the connection itself where nothing is unusual; on whatever way, the answers are alike."""

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from processes import ServerProcess, running_server
from raw_connection import RawAnswer, RawConnection
from raw_stream import RawStream
from scraping import scrape

SNAPSHOT = "/sdk/v1/snapshot"
UNUSUAL = ("Accept: application/json", "Accept: */*")
"""What sends a request the whole way, and changes nothing of its answer."""
NUMBERS = ("date", "x-request-id")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One whose snapshot is larger than what a socket takes at once."""
    folder = tmp_path_factory.mktemp("snapshots")
    with running_server(
        folder, FADER_SNAPSHOT_BYTES_PER_SECOND="1000000000000", FADER_SDK_REQUESTS_PER_SECOND="100000"
    ) as server:
        values = [f"{number:0100}" for number in range(1_000)]
        constraint = {"attribute": "email", "operator": "in", "values": values}
        body = {"enabled": True, "rules": [{"constraints": [constraint]}]}
        for name in "abcdefgh":
            server.admin.create_flag(name)
            server.admin.ok("PUT", f"/projects/default/flags/{name}/environments/production", body)
        with RawConnection(server) as connection:
            ask(server, connection)  # from now on, the key is known, and the snapshot is there as bytes
        yield server


def ask(server: ServerProcess, connection: RawConnection, *more: str, method: str = "GET") -> RawAnswer:
    connection.request(SNAPSHOT, key(server), *more, method=method)
    return connection.answer(has_body=method != "HEAD" and "If-None-Match: *" not in more)


def key(server: ServerProcess) -> str:
    return f"Authorization: Bearer {server.sdk_key()}"


def alike(answer: RawAnswer) -> tuple[int, dict[str, str], bytes]:
    assert set(NUMBERS) < set(answer.headers)
    return answer.status, {name: answer.headers[name] for name in answer.headers if name not in NUMBERS}, answer.body


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Accept-Encoding: gzip",),
        ("If-None-Match: *",),
        ("If-None-Match: *", "Accept-Encoding: gzip"),
        ("Connection: close",),
        ("If-None-Match: *", "Connection: close"),
        ("Connection: Upgrade", "Upgrade: h2c"),
        ("X-Request-Id: mine",),
    ],
    ids=", ".join,
)
def test_the_answer_is_that_of_the_whole_way(server: ServerProcess, fields: tuple[str, ...]) -> None:
    with RawConnection(server) as short, RawConnection(server) as whole:
        answer, other = ask(server, short, *fields), ask(server, whole, *fields, *UNUSUAL)
        assert alike(answer) == alike(other)
        if "X-Request-Id: mine" in fields:
            assert answer.headers["x-request-id"] == other.headers["x-request-id"] == "mine"
        if "Connection: close" in fields:
            assert short.is_closed()
            assert whole.is_closed()
        else:
            assert ask(server, short).status == ask(server, whole).status == 200


def test_other_methods_and_versions_are_answered_as_ever(server: ServerProcess) -> None:
    with RawConnection(server) as connection:
        whole = ask(server, connection)
        head = ask(server, connection, method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(whole.body)))
        assert ask(server, connection, "Content-Length: 0", method="POST").status == 405
        connection.request(f"{SNAPSHOT}?since=1", key(server))
        assert alike(connection.answer()) == alike(whole)
        connection.send(f"GET {SNAPSHOT} HTTP/1.0\r\n{key(server)}\r\nConnection: keep-alive\r\n\r\n".encode())
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"], answer.body) == (200, "close", whole.body)
        assert connection.is_closed()


def test_a_request_may_come_in_pieces_and_with_a_body(server: ServerProcess) -> None:
    with RawConnection(server) as connection:
        for byte in f"GET {SNAPSHOT} HTTP/1.1\r\nHost: fader\r\n{key(server)}\r\n\r\n".encode():
            connection.send(bytes([byte]))
        assert connection.answer().status == 200
        for size in (10, 100_000):
            connection.request(SNAPSHOT, key(server), body=b"x" * size)
            assert connection.answer().status == 200
        assert ask(server, connection).status == 200


def test_several_at_once_are_answered_in_order(server: ServerProcess) -> None:
    requests = [
        (SNAPSHOT, "Accept-Encoding: identity"),
        ("/health/live", "X: y"),
        (SNAPSHOT, "If-None-Match: *"),
        (SNAPSHOT, "Accept-Encoding: gzip"),
        (SNAPSHOT, "If-None-Match: *"),
        ("/nothing", "X: y"),
    ] * 3
    with RawConnection(server) as connection:
        lines = [f"GET {path} HTTP/1.1\r\n{key(server)}\r\n{field}\r\n\r\n" for path, field in requests]
        connection.send("".join(lines).encode())
        answers = [connection.answer(has_body="If-None-Match" not in field) for _, field in requests]
    assert [answer.status for answer in answers] == [200, 200, 304, 200, 304, 404] * 3
    assert ["gzip" in answer.headers.get("content-encoding", "") for answer in answers] == [
        "gzip" in field for _, field in requests
    ]


def test_who_sends_nothing_more_gets_all_of_the_answer(server: ServerProcess) -> None:
    with RawConnection(server) as connection:
        connection.request(SNAPSHOT, key(server))
        connection.socket.shutdown(socket.SHUT_WR)
        assert len(json.loads(connection.answer().body)["flags"]) == 8
        assert connection.is_closed()


def test_who_asks_and_asks_and_does_not_read_is_waited_for(server: ServerProcess) -> None:
    def answered() -> float:
        return scrape(server).sum("fader_http_requests_total", route=SNAPSHOT, status="200")

    before, asked = answered(), 30
    with RawConnection(server) as connection:
        connection.send(f"GET {SNAPSHOT} HTTP/1.1\r\n{key(server)}\r\n\r\n".encode() * asked)
        connection.peek()  # so they have been read, and what the kernel takes is being sent
        assert answered() - before < asked / 2
        answers = [connection.answer() for _ in range(asked)]
    assert {answer.status for answer in answers} == {200}
    assert min(len(answer.body) for answer in answers) > 800_000
    assert answered() - before == asked


def test_it_is_counted_and_remembered_who_polls(server: ServerProcess) -> None:
    labels = {"method": "GET", "route": SNAPSHOT, "status": "304"}
    before = scrape(server).sum("fader_http_requests_total", **labels)
    with RawConnection(server) as connection:
        for _ in range(3):
            named = ("Fader-Instance: one", "Fader-App: shop", "User-Agent: fader-python/1.0")
            assert ask(server, connection, "If-None-Match: *", *named).status == 304
    assert scrape(server).sum("fader_http_requests_total", **labels) == before + 3
    listed = server.admin.ok("GET", "/projects/default/environments/production/clients")["items"]
    [found] = [one for one in listed if one["instance"] == "one"]
    assert (found["transport"], found["app"], found["sdk"]) == ("poll", "shop", "fader-python")


def test_a_change_is_in_the_next_answer(server: ServerProcess) -> None:
    with RawConnection(server) as connection, contextlib.closing(RawStream(server)) as stream:
        stream.event()
        before = ask(server, connection)
        assert ask(server, connection, "If-None-Match: *").headers["etag"] == before.headers["etag"]
        server.admin.verb("a", "off")
        stream.event()
        after = ask(server, connection)
        assert after.headers["etag"] != before.headers["etag"]
        assert after.json["revision"] == before.json["revision"] + 1
