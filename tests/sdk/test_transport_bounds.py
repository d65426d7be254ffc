"""What is said beside following flags is over in time, however far it gets: flags wait behind it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from fader.config import Timing, settings
from fader.transport import Failure, Transport
from fader.trust import Trust
from fader.wire import no_chores

PATIENCE = 20.0
"""Seconds after which it counts as never over. All limits but the one in question are an hour."""
TIMING = Timing(connect=3600, usage_post=3600, event=3600, first_byte=3600)


@contextmanager
def takes_no_connection() -> Iterator[str]:
    """Its queue of connections is full, so that there is no answer to one more."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def says_nothing(scheme: str = "http") -> Iterator[str]:
    """Connects, and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


PEERS = {
    "while connecting": takes_no_connection,
    "while agreeing on TLS": lambda: says_nothing("https"),
    "while waiting for the answer": says_nothing,
}


@pytest.mark.parametrize("phase", PEERS)
def test_a_word_that_gets_stuck_is_given_up(phase: str) -> None:
    with PEERS[phase]() as url:
        told = settings(url=url, sdk_key="default:production.key", cache_dir=None)
        transport = Transport(told, Trust(told), TIMING, "web-1:42:abc", no_chores)
        raised: list[Exception] = []

        def tell() -> None:
            try:
                transport.tell("ack", b"{}", within=0.2)
            except Failure as error:
                raised.append(error)

        _run(tell)
        transport.close()
        assert raised


def _run(step: Callable[[], None]) -> None:
    thread = threading.Thread(target=step, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it is still at it"
