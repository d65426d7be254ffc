"""Acknowledgements of many clients, each on a connection of its own.

Bare sockets, because ten thousand within two seconds must not keep the process from listening.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import msgspec

_AT_ONCE: Final = 3_000
"""Connections at the same time; whoever comes when there are so many waits, and says so (``held_ms``)."""

_PORT_LATER: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", None)


class Sender(msgspec.Struct, eq=False):
    """One client, as far as its acknowledgements go.

    Args:
        source: The address that it connects from.
        request: Gives the bytes of its request, at the moment when they are sent.
        done: Told how it was answered: the status, or the error.
        connection: The one that was used before, if it is still open.
    """

    source: str
    request: Callable[[], bytes]
    done: Callable[[str], None]
    connection: socket.socket | None = None


class Acknowledging:
    """Sends them, and counts how they were answered.

    Args:
        host: Of the server.
        port: Of the server.
        keeps_connections: Whether connections stay open for the next one, until the server closes them. An SDK that
            acknowledges several times within seconds finds its connection open. Between changes that are minutes
            apart it does not, and each acknowledgement is a new connection.
    """

    def __init__(self, host: str, port: int, *, keeps_connections: bool) -> None:
        self._address = host, port
        self._keeps_connections = keeps_connections
        self._loop = asyncio.get_running_loop()
        self._under_way = 0
        self._waiting: deque[Sender] = deque()
        self.answers: Counter[str] = Counter()
        """By status, or by the error."""

    def send(self, sender: Sender) -> None:
        """Send one as soon as there is room; a sender has one under way at most."""
        if self._under_way >= _AT_ONCE:
            self._waiting.append(sender)
        else:
            self._begin(sender)

    def _begin(self, sender: Sender) -> None:
        self._under_way += 1
        kept, sender.connection = sender.connection, None
        if kept is not None:
            self._loop.remove_reader(kept)
            self._write(sender, kept)
            return
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        if _PORT_LATER is not None:
            connection.setsockopt(socket.IPPROTO_IP, _PORT_LATER, 1)
        try:
            connection.bind((sender.source, 0))
        except OSError as error:
            self._end(sender, connection, _name(error))
            return
        connection.connect_ex(self._address)
        self._write(sender, connection)

    def _write(self, sender: Sender, connection: socket.socket) -> None:
        try:
            connection.send(sender.request())  # over loopback it is connected by now
        except BlockingIOError:
            self._loop.add_writer(connection, self._connected, sender, connection)
        except OSError as error:
            self._end(sender, connection, _name(error))
        else:
            self._loop.add_reader(connection, self._answered, sender, connection)

    def _connected(self, sender: Sender, connection: socket.socket) -> None:
        self._loop.remove_writer(connection)
        self._write(sender, connection)

    def _answered(self, sender: Sender, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        try:
            status = connection.recv(4_096)[9:12].decode("latin-1") or "no answer"
        except OSError as error:
            status = _name(error)
        self._end(sender, connection, status)

    def _end(self, sender: Sender, connection: socket.socket, how: str) -> None:
        if self._keeps_connections and how == "204":
            sender.connection = connection
            self._loop.add_reader(connection, self._closed, sender, connection)
        else:
            connection.close()
        self._under_way -= 1
        self.answers[how] += 1
        sender.done(how)
        if self._waiting and self._under_way < _AT_ONCE:
            self._begin(self._waiting.popleft())

    def _closed(self, sender: Sender, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        connection.close()
        sender.connection = None


def _name(error: OSError) -> str:
    return error.strerror or type(error).__name__
