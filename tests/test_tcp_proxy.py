"""The proxy with which faults of networks are made: it must do what the tests of faults believe."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from services.tcp_proxy import TcpProxy, proxied


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(1000):
                    connection.sendall(data)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[TcpProxy]:
    with proxied(echo) as proxy:
        yield proxy


def _connected(proxy: TcpProxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    client.sendall(b"hello")
    assert client.recv(100) == b"hello"
    return client


def test_it_passes_on_in_both_directions_and_the_end_of_each(proxy: TcpProxy) -> None:
    client = _connected(proxy)
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    client.close()


def test_a_cut_resets_what_is_open_and_lets_new_connections_in(proxy: TcpProxy) -> None:
    client = _connected(proxy)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    client.close()
    _connected(proxy).close()


def test_while_it_refuses_nobody_gets_in(proxy: TcpProxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.recv(100)
    proxy.restore()
    _connected(proxy).close()


def test_a_black_hole_keeps_connections_open_and_gives_back_what_it_swallowed(proxy: TcpProxy) -> None:
    old = _connected(proxy)
    proxy.swallow()
    new = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    for client in (old, new):
        client.settimeout(0.2)
        client.sendall(b"lost?")
        with pytest.raises(TimeoutError):
            client.recv(100)
    proxy.restore()
    for client in (old, new):
        client.settimeout(5)
        assert client.recv(100) == b"lost?"
        client.close()


def test_a_delay_holds_back_each_piece_in_each_direction(proxy: TcpProxy) -> None:
    client = _connected(proxy)
    proxy.delay(0.1)
    began = time.monotonic()
    client.sendall(b"late")
    assert client.recv(100) == b"late"
    assert time.monotonic() - began >= 0.2
    client.close()
