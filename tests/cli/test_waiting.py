"""How far a revision has come, decided from what a server says and fails to say; against servers that behave badly."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from command_line import Cli
from fader_cli.acknowledgements import Acknowledgements, Missing, missing_sentence
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.retries import PassingFault
from fader_cli.waiting import EVERYBODY, Waiting

AWAY = PassingFault("cannot reach it")


def said(applied: int, clients: int, **more: Any) -> dict[str, Any]:
    counts = {"clients": clients, "applied": applied, "waiting": clients - applied, "refused": 0, "lost": 0}
    where = {"environment": "production", "epoch": "a", "revision": 7, "complete": applied == clients}
    return where | counts | more


def waiting(require: float = EVERYBODY, *, is_certain: bool = True) -> Waiting:
    return Waiting("production", 7, require, is_certain=is_certain)


def not_found(detail: str | None) -> CliError:
    return CliError("no", None, ExitCode.NOT_FOUND, None if detail is None else {"detail": detail})


@pytest.mark.parametrize(
    ("require", "document", "is_reached"),
    [
        (100, said(2, 2), True),
        (100, said(9_999, 10_000), False),
        (100, said(2, 2, complete=False), False),  # a server has yet to serve it
        (100, said(0, 0), True),
        (99.9, said(999, 1_000), True),
        (99.9, said(998, 1_000), False),
        (33.3, said(333, 1_000), True),
        (99.999, said(99_999, 100_000), True),
        (0, said(0, 5), True),
    ],
)
def test_when_it_is_reached(require: float, document: dict[str, Any], is_reached: bool) -> None:
    one = waiting(require)
    one.hear(document)
    assert one.is_reached is one.is_over is is_reached


def test_those_who_were_there_before_the_server_went_away_are_waited_for() -> None:
    one = waiting()
    one.hear(said(3, 10))
    one.fail(AWAY)
    one.hear(said(0, 0))
    assert not one.is_reached
    one.hear(said(9, 9))
    assert (one.is_reached, one.expected) == (False, 10)
    one.hear(said(10, 10))
    assert one.is_reached


def test_also_when_it_was_away_so_shortly_that_nobody_noticed() -> None:
    one = waiting()
    one.hear(said(0, 1, counting_since="2026-11-26T01:00:00Z"))
    one.hear(said(0, 0, counting_since="2026-11-26T01:00:09Z"))
    assert (one.is_reached, one.expected) == (False, 1)
    one.hear(said(1, 1, counting_since="2026-11-26T01:00:09Z"))
    assert one.is_reached


def test_who_says_goodbye_is_waited_for_no_longer() -> None:
    one = waiting()
    one.hear(said(1, 2))
    one.hear(said(1, 1))
    assert one.is_reached


def test_revisions_of_another_history_prove_nothing() -> None:
    one = waiting()
    one.hear(said(1, 2))
    one.hear(said(2, 2, epoch="b"))
    assert (one.is_reached, one.is_over) == (False, True)
    assert one.fault is not None
    assert "replaced" in one.fault.message


@pytest.mark.parametrize(
    ("error", "is_certain", "is_hopeless"),
    [
        (AWAY, True, False),
        (CliError("500"), True, False),
        (CliError("who are you?", code=ExitCode.NOT_ALLOWED), True, True),
        (not_found("There is no revision 7 of 'production' yet."), True, False),  # a node that is behind
        (not_found("There is no revision 7 of 'production' yet."), False, True),
        (not_found("There is nothing at /api/v1/…/acknowledgements."), True, True),  # a server from before
        (not_found(None), True, True),
    ],
)
def test_what_can_still_become_good(error: CliError, is_certain: bool, is_hopeless: bool) -> None:
    one = waiting(is_certain=is_certain)
    one.fail(error)
    assert one.is_hopeless is is_hopeless
    again = waiting(is_certain=is_certain)
    again.hear(said(1, 2))
    again.fail(error)
    assert again.is_hopeless is (error.code is ExitCode.NOT_ALLOWED), "what has answered once will again"


def test_what_is_no_answer_is_a_failure() -> None:
    one = waiting()
    one.hear({"hello": "world"})
    assert (one.answer, one.is_over) == (None, False)
    assert one.fault is not None


def missing(host: str, instance: str, **more: Any) -> Missing:
    return Missing(app="shop", host=host, instance=instance, **{"state": "waiting", "silent_seconds": 41.3} | more)


@pytest.mark.parametrize(
    ("clients", "who", "sentence"),
    [
        (0, (), ""),
        (1, (missing("web-1", "web-1:7:a"),), "1 has not confirmed: shop@web-1 (silent for 41 s)"),
        (
            2,
            (missing("web-1", "web-1:7:a", state="lost"), missing("web-1", "web-1:8:b")),
            "2 have not confirmed: shop@web-1:7:a (lost, silent for 41 s), shop@web-1:8:b (silent for 41 s)",
        ),
        (
            1,
            (missing("web\x1b[2J-1", "x", state="refused", error="no\nsuch\x1b[31m operator"),),
            "1 has not confirmed: shop@web [2J-1 (refused: no such [31m operator)",
        ),
        (
            40,
            tuple(missing(f"web-{number}", f"{number}") for number in range(20)),
            "40 have not confirmed: "
            + ", ".join(f"shop@web-{number} (silent for 41 s)" for number in range(5))
            + " and 35 more (see `fader clients -e production --behind`)",
        ),
    ],
)
def test_who_is_missing(clients: int, who: tuple[Missing, ...], sentence: str) -> None:
    answer = Acknowledgements(
        environment="production",
        epoch="a",
        revision=7,
        clients=clients,
        applied=0,
        waiting=clients,
        refused=0,
        lost=0,
        complete=False,
        missing=who,
    )
    assert missing_sentence(answer) == sentence


@contextmanager
def listener(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Takes connections, reads what they ask, and hands each to a function, with what is set when the test is over."""
    is_over, threads = threading.Event(), []

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            answer(connection, is_over)

    def take() -> None:
        while True:
            connection, _ = taking.accept()
            if is_over.is_set():
                connection.close()
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as taking:
        port = taking.getsockname()[1]
        accepting = threading.Thread(target=take)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            is_over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            for thread in (accepting, *threads):
                thread.join(10)


def say_nothing(_: socket.socket, is_over: threading.Event) -> None:
    is_over.wait(30)


def say_little(connection: socket.socket, is_over: threading.Event) -> None:
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not is_over.wait(0.02):
            connection.sendall(b" ")
    except OSError:
        pass  # nobody listens any longer


def say_no(connection: socket.socket, _: threading.Event) -> None:
    head = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n"
    body = b'{"type": "urn:fader:problem:not-found", "detail": "There is nothing at /api/v1/x."}'
    connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))


@pytest.mark.parametrize("answer", [say_nothing, say_little])
def test_no_server_can_make_it_take_longer(
    unsigned: Cli, answer: Callable[[socket.socket, threading.Event], None]
) -> None:
    with listener(answer) as url:
        began = time.monotonic()
        done = unsigned("wait", "7", "-e", "production", "--url", url, "--token", "x", "--timeout", "0.5")
        assert time.monotonic() - began < 15  # either server would have gone on for longer
    assert done.code == ExitCode.NOT_APPLIED
    assert "nobody knows who has applied it" in done.err


def test_a_server_from_before_says_so_at_once(unsigned: Cli) -> None:
    with listener(say_no) as url:
        done = unsigned("wait", "7", "-e", "production", "--url", url, "--token", "x", "--timeout", "600")
    assert done.code == ExitCode.NOT_APPLIED
    assert done.err == "fader: this server cannot tell who has applied what (it is too old for that)\n"
