"""Acknowledgements are taken by the connection itself where nothing is unusual; on whatever way, they count alike."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from processes import ServerProcess, running_server
from raw_connection import RawAnswer, RawConnection
from raw_stream import RawStream

ACK = "/sdk/v1/ack"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("acks")) as server:
        server.admin.create_flag("a")
        yield server


class Client:
    """A client whose acknowledgements are counted by what the server says of it."""

    def __init__(self, server: ServerProcess) -> None:
        self.name = f"client-{uuid.uuid4().hex[:8]}"
        self._server = server
        self._stream = RawStream(server, headers={"Fader-Instance": self.name})
        _, snapshot = self._stream.event()
        self.epoch, self.revision = snapshot["epoch"], snapshot["revision"]

    @property
    def applied(self) -> int | None:
        path = "/projects/default/environments/production/clients"
        [found] = [one for one in self._server.admin.ok("GET", path)["items"] if one["instance"] == self.name]
        revision: int | None = found["revision"]
        return revision

    def body(self, **more: Any) -> bytes:
        said = {"instance": self.name, "epoch": self.epoch, "revision": self.revision, **more}
        return json.dumps(said).encode()

    def close(self) -> None:
        self._stream.close()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


def fields(server: ServerProcess) -> tuple[str, ...]:
    return (f"Authorization: Bearer {server.sdk_key()}", "Content-Type: application/json")


def acknowledge(server: ServerProcess, connection: RawConnection, body: bytes, *more: str) -> RawAnswer:
    connection.request(ACK, *fields(server), *more, method="POST", body=body)
    return connection.answer()


def test_one_connection_takes_many_and_other_requests_between_them(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        for _ in range(3):
            assert acknowledge(server, connection, client.body()).status == 204
            connection.request("/health/live")
            assert connection.answer().status == 200
    assert client.applied == client.revision


def test_it_may_come_in_pieces(server: ServerProcess, client: Client) -> None:
    body = client.body()
    head = "\r\n".join([f"POST {ACK} HTTP/1.1", "Host: fader", *fields(server), f"Content-Length: {len(body)}", "", ""])
    with RawConnection(server) as connection:
        for byte in head.encode() + body:
            connection.send(bytes([byte]))
        assert connection.answer().status == 204
    assert client.applied == client.revision


def test_it_may_come_in_chunks_and_announced(server: ServerProcess, client: Client) -> None:
    body = client.body()
    with RawConnection(server) as connection:
        connection.request(ACK, *fields(server), "Transfer-Encoding: chunked", method="POST")
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert connection.answer().status == 204
        connection.request(ACK, *fields(server), "Expect: 100-continue", f"Content-Length: {len(body)}", method="POST")
        assert connection.answer(has_body=False).status == 100
        connection.send(body)
        assert connection.answer().status == 204
    assert client.applied == client.revision


def test_several_at_once_are_answered_in_order(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        connection.request(ACK, *fields(server), method="POST", body=client.body())
        connection.request("/health/live")
        connection.request(ACK, *fields(server), method="POST", body=client.body())
        connection.request("/health/live")
        assert [connection.answer().status for _ in range(4)] == [204, 200, 204, 200]


def test_the_connection_ends_where_that_is_asked_for(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        answer = acknowledge(server, connection, client.body(), "Connection: close")
        assert (answer.status, answer.headers["connection"]) == (204, "close")
        assert connection.is_closed()


def test_one_with_an_id_of_its_own_goes_the_whole_way(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        answer = acknowledge(server, connection, client.body(), "X-Request-Id: mine")
        assert (answer.status, answer.headers["x-request-id"]) == (204, "mine")
    assert client.applied == client.revision


def test_one_with_much_to_say_goes_the_whole_way(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        assert acknowledge(server, connection, client.body(unknown="x" * 10_000)).status == 204
    assert client.applied == client.revision


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"instance": "a", "epoch": "e"}', 422),
        (b'{"instance": "", "epoch": "e", "revision": 1}', 422),
        (b'{"instance": "a", "epoch": "e", "revision": -1}', 422),
        (b'{"instance": "a", "epoch": "e", "revision": 1, "held_ms": -5}', 422),
        (b'{"instance": "a", "epoch": "e", "revision": 1, "applied": "yes"}', 422),
    ],
)
def test_what_makes_no_sense_is_refused_as_everywhere(server: ServerProcess, body: bytes, status: int) -> None:
    with RawConnection(server) as connection:
        answer = acknowledge(server, connection, body, *(() if body else ("Content-Length: 0",)))
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_whoever_has_no_key_is_refused(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        connection.request(ACK, "Content-Type: application/json", method="POST", body=client.body())
        assert connection.answer().status == 401
        wrong = "Authorization: Bearer default:production.wrong-wrong-wrong-wrong"
        connection.request(ACK, wrong, "Content-Type: application/json", method="POST", body=client.body())
        assert connection.answer().status == 401
        connection.request(ACK, *fields(server))
        assert connection.answer().status == 405
    assert client.applied is None


def test_a_key_of_another_environment_says_nothing_here(server: ServerProcess, client: Client) -> None:
    with RawConnection(server) as connection:
        other = (f"Authorization: Bearer {server.sdk_key('staging')}", "Content-Type: application/json")
        connection.request(ACK, *other, method="POST", body=client.body())
        assert connection.answer().status == 204
    assert client.applied is None
