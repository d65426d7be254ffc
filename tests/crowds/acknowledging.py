"""Acknowledgements of many clients: each on a connection of its own, which is closed after the answer.

An SDK's idle connection will have been closed since its last acknowledgement, so what a server has to bear is as many
new connections. Bare sockets, because ten thousand within two seconds must not keep the process from listening.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

_AT_ONCE: Final = 3_000
"""Connections at the same time; whoever comes when there are so many waits, and says so (``held_ms``)."""

_PORT_LATER: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", None)


class Acknowledging:
    """Sends them, and counts how they were answered.

    Args:
        host: Of the server.
        port: Of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._loop = asyncio.get_running_loop()
        self._under_way = 0
        self._waiting: deque[tuple[str, Callable[[], bytes]]] = deque()
        self.answers: Counter[str] = Counter()
        """By status, or by the error."""

    @property
    def unanswered(self) -> int:
        """How many are under way, or wait to be sent."""
        return self._under_way + len(self._waiting)

    def send(self, source: str, request: Callable[[], bytes]) -> None:
        """Send one as soon as there is room.

        Args:
            source: The address to connect from.
            request: Gives the request's bytes, at the moment when they are sent.
        """
        if self._under_way >= _AT_ONCE:
            self._waiting.append((source, request))
        else:
            self._begin(source, request)

    def _begin(self, source: str, request: Callable[[], bytes]) -> None:
        self._under_way += 1
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
        connection.setblocking(False)
        if _PORT_LATER is not None:
            connection.setsockopt(socket.IPPROTO_IP, _PORT_LATER, 1)
        try:
            connection.bind((source, 0))
            connection.connect_ex(self._address)
            connection.send(request())  # over loopback it is connected by now
        except BlockingIOError:
            self._loop.add_writer(connection, self._connected, connection, request)
        except OSError as error:
            self._end(connection, type(error).__name__)
        else:
            self._loop.add_reader(connection, self._answered, connection)

    def _connected(self, connection: socket.socket, request: Callable[[], bytes]) -> None:
        self._loop.remove_writer(connection)
        try:
            connection.send(request())
        except OSError as error:
            self._end(connection, type(error).__name__)
        else:
            self._loop.add_reader(connection, self._answered, connection)

    def _answered(self, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        try:
            status = connection.recv(4_096)[9:12].decode("latin-1") or "no answer"
        except OSError as error:
            status = type(error).__name__
        self._end(connection, status)

    def _end(self, connection: socket.socket, how: str) -> None:
        connection.close()
        self._under_way -= 1
        self.answers[how] += 1
        if self._waiting:
            self._begin(*self._waiting.popleft())
