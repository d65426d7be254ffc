"""A stream of the SDK API, as bytes on a socket: what a proxy or an SDK would see, with nothing in between."""

import json
import socket
import time
from typing import Any

from fader.sse import EventParser
from processes import PATIENCE, ServerProcess


class RawStream:
    """An open ``GET /sdk/v1/stream``.

    Args:
        server: Whom to ask.
        headers: Besides the key's.
        path: What to ask for.
        key: The SDK key.
        receive_buffer: Bytes that the kernel may hold for it, about.
        reads_at_most: Bytes to take at once.
        pause: Seconds to wait each time: a slow reader.
    """

    def __init__(
        self,
        server: ServerProcess,
        headers: dict[str, str] | None = None,
        path: str = "/sdk/v1/stream",
        key: str | None = None,
        receive_buffer: int | None = None,
        reads_at_most: int = 65_536,
        pause: float = 0.0,
    ) -> None:
        self._reads_at_most, self._pause = reads_at_most, pause
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._bytes = b""
        self._body = b""
        self._parser = EventParser()
        self._events: list[tuple[str, Any]] = []
        self.comments = 0
        self.is_over = False
        sent = {"Host": "fader", "Authorization": f"Bearer {key or server.sdk_key()}", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        try:
            self.socket.connect(("127.0.0.1", server.port))
            self.socket.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
            head = self._until(b"\r\n\r\n").decode()
        except BaseException:
            self.socket.close()
            raise
        status, *fields = head.split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields if field)
        }

    def _receive(self) -> None:
        if self._pause:
            time.sleep(self._pause)
        part = self.socket.recv(self._reads_at_most)
        if not part:
            raise EOFError
        self._bytes += part

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._bytes:
            self._receive()
        found, _, self._bytes = self._bytes.partition(mark)
        return found

    def chunk(self) -> bytes:
        """The next chunk of the body (RFC 9112, section 7.1); empty at the end."""
        size = int(self._until(b"\r\n"), 16)
        while len(self._bytes) < size + 2:
            self._receive()
        body, self._bytes = self._bytes[:size], self._bytes[size + 2 :]
        self.is_over = size == 0
        self.comments += body.count(b": heartbeat\n\n")
        self._events += [(event.name, json.loads(event.data)) for event in self._parser.feed(body)]
        return body

    def event(self) -> tuple[str, Any]:
        """The next event: its name and its document."""
        deadline = time.monotonic() + PATIENCE
        while not self._events:
            assert time.monotonic() < deadline, "no event came"
            self.chunk()
            assert not self.is_over, "the stream is over"
        return self._events.pop(0)

    def follow(self, revision: int) -> list[tuple[str, Any]]:
        """All events until one brings the revision: a stream may begin a moment behind the newest write."""
        found = [self.event()]
        while found[-1][1]["revision"] < revision:
            found.append(self.event())
        return found

    def rest(self) -> list[tuple[str, Any]]:
        """All events until the server ends the stream."""
        found = []
        while True:
            try:
                found.append(self.event())
            except AssertionError:
                assert self.is_over
                return found

    def close(self) -> None:
        self.socket.close()
