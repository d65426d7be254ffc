"""A connection on which a test says exactly what it wants to, and reads what the server answers."""

import contextlib
import json
import socket
from typing import Any, Self

from processes import PATIENCE, ServerProcess


class RawAnswer:
    """One answer."""

    def __init__(self, head: bytes, body: bytes) -> None:
        status, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)
        }
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A socket.

    Args:
        server: Where to connect to.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> None:
        """Send a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: fader", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def answer(self, *, has_body: bool = True) -> RawAnswer:
        """The next answer; it must have a length, or be chunked, or have no body."""
        head = self._until(b"\r\n\r\n")
        answer = RawAnswer(head, b"")
        if not has_body:
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            while size := int(self._until(b"\r\n"), 16):
                answer.body += self._exactly(size + 2)[:-2]
            self._until(b"\r\n")
        else:
            answer.body = self._exactly(int(answer.headers.get("content-length", 0)))
        return answer

    def peek(self) -> bytes:
        """All that has come, as soon as more has; it remains to be read."""
        self._receive()
        return self._unread

    def is_closed(self) -> bool:
        """Whether the server has closed it, with nothing more to read; waits for that, or for more to come."""
        with contextlib.suppress(ConnectionResetError):
            self._unread += self.socket.recv(65_536)
        return not self._unread

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._receive()
        found, _, self._unread = self._unread.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._receive()
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    def _receive(self) -> None:
        part = self.socket.recv(65_536)
        if not part:
            raise EOFError
        self._unread += part
