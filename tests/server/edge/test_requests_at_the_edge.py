"""Requests as nobody should send them, on real sockets: each is refused in words or cut, and holds nothing up."""

import contextlib
import socket
import time

import pytest

from processes import ServerProcess, wait_for
from raw_connection import RawConnection
from scraping import scrape

KIBIBYTE = b"x" * 1024


def refused(connection: RawConnection, status: int, slug: str) -> None:
    """It was answered with this problem, and closed."""
    answer = connection.answer()
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.json["type"] == f"urn:fader:problem:{slug}"
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert connection.is_closed()


def test_a_url_that_is_too_long(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/health/live?" + "x" * 2000)
        refused(connection, 414, "url-too-long")


def test_who_speaks_another_protocol_is_refused_in_its_words(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/ofrep/v1/evaluate/flags/a?" + "x" * 2_000)
        answer = connection.answer()
        assert (answer.status, answer.headers["content-type"]) == (414, "application/json")
        assert answer.json == {
            "key": "a",
            "errorCode": "GENERAL",
            "errorDetails": "The URL is longer than FADER_MAX_URL_BYTES.",
        }


def test_headers_that_are_too_large_together(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/health/live", *(f"X-{number}: {'x' * 100}" for number in range(100)))
        refused(connection, 431, "head-too-large")


@pytest.mark.parametrize("beginning", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"], ids=repr)
def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory(strict: ServerProcess, beginning: bytes) -> None:
    with RawConnection(strict) as connection:
        connection.send(beginning)
        with contextlib.suppress(ConnectionError):  # the server may have said what it has to say
            for _ in range(1000):
                connection.send(KIBIBYTE)
        assert connection.answer().status in {400, 414, 431}
        assert connection.is_closed()


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"], ids=repr
)
def test_what_is_no_http(strict: ServerProcess, nonsense: bytes) -> None:
    with RawConnection(strict) as connection:
        connection.send(nonsense)
        refused(connection, 400, "malformed")


@pytest.mark.parametrize(
    "beginning",
    [b"GET /health/live HT", b"GET /health/live HTTP/1.1\r\nHost: fa", b"GET /health/live HTTP/1.1\r\nHost: fader\r\n"],
    ids=repr,
)
def test_a_head_that_comes_too_slowly(strict: ServerProcess, beginning: bytes) -> None:
    with RawConnection(strict) as connection:
        connection.send(beginning)
        refused(connection, 408, "too-slow")


def test_a_head_that_drips(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\n")
        connection.socket.settimeout(0.05)

        def dripped() -> bool:
            connection.send(b"X: y\r\n")
            with contextlib.suppress(TimeoutError):
                refused(connection, 408, "too-slow")
                return True
            return False

        wait_for(dripped, "the server to lose patience")


def test_a_body_that_comes_too_slowly(strict: ServerProcess) -> None:
    fields = f"Authorization: Bearer {strict.admin_token}\r\nContent-Type: application/json\r\nContent-Length: 50\r\n"
    with RawConnection(strict) as connection:
        connection.send(f"POST /api/v1/projects HTTP/1.1\r\nHost: fader\r\n{fields}\r\n{{".encode())
        refused(connection, 408, "too-slow")
    assert "Traceback" not in strict.log.read_text()


@pytest.mark.parametrize("beginning", [b"", b"\r\n"], ids=repr)
def test_a_connection_that_is_never_used(strict: ServerProcess, beginning: bytes) -> None:
    with RawConnection(strict) as connection:
        connection.send(beginning)
        assert connection.is_closed()


def test_a_connection_that_is_kept_open_with_empty_lines(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/health/live")
        assert connection.answer().status == 200

        def closed() -> bool:
            try:
                connection.send(b"\r\n")
                connection.socket.settimeout(0.05)
                return connection.is_closed()
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_for(closed, "the server to lose patience")


def test_a_request_may_begin_late_on_a_connection_that_was_opened_early(strict: ServerProcess) -> None:
    """Browsers and balancers connect ahead of time: the clock of a request begins with its first byte."""
    with RawConnection(strict) as connection:
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 0.7, "most of the time to pass")
        connection.send(b"GET /health/live HTTP/1.1\r\n")
        wait_for(lambda: time.monotonic() - began > 1.2, "what is left of it to pass")
        connection.send(b"Host: fader\r\n\r\n")
        assert connection.answer().status == 200


@pytest.mark.parametrize("how", ["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused_while_it_is_still_being_sent(strict: ServerProcess, how: str) -> None:
    fields = f"Authorization: Bearer {strict.admin_token}\r\nContent-Type: application/json\r\n"
    length = "Content-Length: 50000000\r\n" if how == "announced" else "Transfer-Encoding: chunked\r\n"
    with RawConnection(strict) as connection:
        connection.send(f"POST /api/v1/projects HTTP/1.1\r\nHost: fader\r\n{fields}{length}\r\n".encode())
        part = KIBIBYTE * 8 if how == "announced" else b"2000\r\n" + KIBIBYTE * 8 + b"\r\n"
        # More than all buffers on the way can hold: a server that closes at once would reset the connection, and the
        # client would never see the answer.
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                connection.send(part)
        refused(connection, 413, "too-large")


def test_a_small_body_that_nobody_reads_does_not_cost_the_connection(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        for _ in range(2):
            connection.request("/api/v1/projects", "Content-Type: application/json", method="POST", body=KIBIBYTE * 40)
            assert connection.answer().status == 401


def test_a_large_body_that_nobody_reads_costs_the_connection(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.send(b"POST /api/v1/projects HTTP/1.1\r\nHost: fader\r\nContent-Length: 50000000\r\n\r\n")
        assert connection.answer().status == 401
        with contextlib.suppress(ConnectionError):
            for _ in range(20_000):
                connection.send(KIBIBYTE)
        assert connection.is_closed()


def test_what_comes_together_with_the_end_of_such_a_body_is_not_answered_any_more(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        body = KIBIBYTE * 65  # of which 64 are thrown away
        head = f"POST /api/v1/projects HTTP/1.1\r\nHost: fader\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.send(head)
        assert connection.answer().status == 401
        connection.send(body[:-2_048])
        connection.send(body[-2_048:] + b"GET /health/live HTTP/1.1\r\nHost: fader\r\n\r\n")
        assert connection.is_closed()
    with RawConnection(strict) as connection:
        connection.request("/health/live")
        assert connection.answer().status == 200
    assert "Exception in ASGI application" not in strict.log.read_text("utf-8")


def test_who_asks_and_sends_nothing_more_still_gets_an_answer(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.request("/sdk/v1/snapshot", f"Authorization: Bearer {strict.sdk_key()}")
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer()
        assert (answer.status, answer.json["environment"]) == (200, "production")
        assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        paths = ["/health/live", "/nothing", "/health/ready"] * 5
        connection.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: fader\r\n\r\n".encode() for path in paths))
        assert [connection.answer().status for _ in paths] == [200, 404, 200] * 5


def test_a_pipeline_has_an_end(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\nHost: fader\r\n\r\n" * 1000)
        answered = 0
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                assert connection.answer().status == 200
                answered += 1
        assert answered < 100


def test_what_comes_after_nonsense_is_not_a_request(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        request = b"GET /health/live HTTP/1.1\r\nHost: fader\r\n\r\n"
        connection.send(request + b"nonsense\r\n\r\n" + request)
        answer = connection.answer()
        assert answer.status == 200
        assert connection.is_closed()


def test_an_upgrade_is_declined_by_answering(strict: ServerProcess) -> None:
    with RawConnection(strict) as connection:
        for offered in ("h2c", "websocket"):
            connection.request("/health/live", "Connection: Upgrade", f"Upgrade: {offered}")
            assert connection.answer().status == 200


def test_refusals_are_counted(strict: ServerProcess) -> None:
    before = scrape(strict).sum("fader_admission_refused_total", limit="url")
    with RawConnection(strict) as connection:
        connection.request("/" + "x" * 2000)
        refused(connection, 414, "url-too-long")
    assert scrape(strict).sum("fader_admission_refused_total", limit="url") == before + 1
