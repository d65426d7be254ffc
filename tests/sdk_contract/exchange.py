"""One request to the scripted server, and the raw connection on which it is answered."""

import gzip
import json
import queue
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from sdk_contract.scripted_server import ScriptedServer

Kind = Literal["stream", "snapshot", "usage", "outcomes", "ack", "goodbye", "other"]


@dataclass(frozen=True)
class Request:
    """One request as it arrived. ``at`` is monotonic seconds; ``connection`` numbers the TCP connections."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def kind(self) -> Kind:
        for kind in get_args(Kind):
            if self.path.endswith(f"/sdk/v1/{kind}"):
                return kind
        return "other"

    @property
    def since(self) -> str | None:
        """The version that the client says it holds, by header or by query."""
        return self.headers.get("last-event-id") or next(iter(self.query.get("since", [])), None)

    def json(self) -> Any:
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return json.loads(body)


class Exchange:
    """One request and the raw connection on which to answer it."""

    def __init__(self, server: "ScriptedServer", connection: socket.socket, request: Request) -> None:
        self.server = server
        self.request = request
        self._socket = connection

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def client_is_gone(self) -> bool:
        """Whether the client has closed its side."""
        # Not by MSG_PEEK, which TLS does not know. A byte that is read here is lost, but none is expected: no client
        # of ours sends its next request before it has the answer to this one.
        if not select.select([self._socket], [], [], 0.01)[0]:
            return False
        self._socket.settimeout(0)
        try:
            return self._socket.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except (OSError, ValueError):
            return True
        finally:
            self._socket.settimeout(None)

    def hold(self, seconds: float = 3600) -> None:
        """Say nothing until the client leaves, the server stops, or the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.server.stopping and not self.client_is_gone():
            pass

    def cut(self) -> None:
        """Reset the connection, as a crashed machine or a firewall would."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


Inbox: TypeAlias = "queue.SimpleQueue[bytes | None]"
"""What an open stream still has to say; ``None`` ends it."""

Answer = Callable[[Exchange], bool | None]
"""Answers one request; true keeps the connection open for the next one."""


def read_request(incoming: IO[bytes], connection: int) -> Request | None:
    first = incoming.readline(65537)
    if not first.strip():
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := incoming.readline(65537)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(incoming.readline(), 16):
            body += incoming.read(size)
            incoming.readline()
        incoming.readline()
    else:
        body = incoming.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body, time.monotonic(), connection)
