"""One HTTP connection whose every wait is bounded and that another thread can cut.

urllib3 speaks HTTP, TLS and proxies. Its timeouts hold for each system call alone, though, so that a peer which
drips bytes holds a reader for ever, and its connections are out of reach while an answer is awaited. Here all reading
goes through ``_PatientReads``, which knows the deadline of the whole exchange.
"""

import contextlib
import http.client
import io
import math
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.util
from urllib3.util.ssltransport import SSLTransport

Failure: Final = (urllib3.exceptions.HTTPError, OSError, ValueError, http.client.HTTPException)
"""What an exchange may raise. ``ValueError`` is what reading from a socket that was just cut comes to."""

_AT_ONCE: Final = 0.001
"""Seconds that stand for none: to a socket, zero means something else."""

Chores: TypeAlias = Callable[[], float]
"""Does what is due and returns the seconds until more will be: called again and again while waiting for bytes."""


def no_chores() -> float:
    """For exchanges during which nothing else needs doing."""
    return 60.0


class Wire:
    """A connection to one origin, directly or through a proxy, made anew when it is lost.

    It is used by one thread; ``cut`` may be called from any, ``abandon`` only in a forked child.

    Args:
        proxy: URL of an HTTP proxy, or ``None``.
        context: How to verify the server, if there is anything to verify.
        connect: Seconds that connecting may take.
        chores: What to do while waiting for bytes.
    """

    def __init__(
        self, proxy: str | None, context: ssl.SSLContext | None, connect: float, chores: Chores = no_chores
    ) -> None:
        self.deadline = 0.0
        self.chores = chores
        self._connect = connect
        self._head_within = 0.0
        self._over_by = math.inf
        self._cut = False
        self._abandoned = False
        self._pools = _pools(self, proxy, context)
        self._descriptor = -1
        self._handle: socket.socket | None = None
        self._connection: urllib3.connection.HTTPConnection | None = None

    def exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        *,
        within: float,
        over_by: float = math.inf,
        body: bytes | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and wait for the head of the answer.

        Args:
            method: The HTTP method.
            url: Where to.
            headers: The request's headers.
            within: Seconds from the request to the head's end. Connecting has its own limit.
            over_by: When all of this has to be over, connecting included, in seconds of ``time.monotonic``. (Looking up
                a name is beyond anybody's control, and a name with several dead addresses takes that long for each.)
            body: What to send.

        Returns:
            The answer, its body unread. ``finish`` must follow.

        Raises:
            TimeoutError: The server was reached, but did not answer in time.
            Exception: Another of ``Failure``.
        """
        self._head_within = within
        self._over_by = over_by
        connect = min(self._connect, max(_AT_ONCE, over_by - time.monotonic()))
        try:
            return self._pools.request(
                method,
                url,
                body=body,
                headers=headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=connect, read=within),
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TimeoutError("timed out waiting for the server") from error

    def read(self, answer: urllib3.BaseHTTPResponse, *, until: float, largest: int) -> bytes:
        """All of an answer's body.

        Args:
            answer: What ``exchange`` returned.
            until: When it must be complete, in seconds of ``time.monotonic``.
            largest: Bytes that it may have, after decompression.

        Raises:
            Exception: One of ``Failure``.
        """
        self.deadline = until
        parts, size = [], 0
        while part := answer.read(1 << 16):
            parts.append(part)
            size += len(part)
            if size > largest:
                raise ValueError(f"an answer of more than {largest:,} bytes")
        return b"".join(parts)

    def finish(self, answer: urllib3.BaseHTTPResponse | None, *, keep: bool) -> None:
        """End an exchange; ``keep`` the connection for the next one where its answer was read to the end."""
        if answer is not None:
            with contextlib.suppress(*Failure):
                if keep:
                    answer.release_conn()
                else:
                    answer.close()
        if not keep or self._connection is None or self._connection.sock is None:
            # As long as the handle is open, so is the connection.
            self._drop_handle()

    def cut(self) -> None:
        """End whatever goes on, at once, for good: the thread that waits gets an error."""
        self._cut = True
        handle = self._handle
        if handle is not None:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connection without a word to the server."""
        self._abandoned = True
        handle = self._handle
        if handle is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), os.fstat(handle.fileno())):
                _let_go(self._descriptor)
            _let_go(handle.fileno())

    def connected(self, connection: urllib3.connection.HTTPConnection, sock: socket.socket) -> None:
        """Called by a connection as soon as there is a socket, before TLS.

        Raises:
            ConnectionAbortedError: The connection is the parent's, and this an inherited greenlet in its child.
        """
        if self._abandoned:
            _let_go(sock.fileno())
            raise ConnectionAbortedError("the connection belongs to another process")
        self._drop_handle()
        self._connection = connection
        self._descriptor = sock.fileno()
        # A second descriptor of the same connection. Whoever cuts it uses this one, so that no race with the thread
        # that closes the first can hit a stranger's descriptor, nor interfere with the TLS object.
        self._handle = sock.dup()
        if self._over_by < math.inf:  # TLS gets what is left
            sock.settimeout(max(_AT_ONCE, self._over_by - time.monotonic()))
        if self._cut:
            self.cut()

    def requested(self) -> None:
        """Called by a connection when a request has been sent and its answer is awaited."""
        self.deadline = min(time.monotonic() + self._head_within, self._over_by)

    def wait(self, sock: Any) -> None:
        """Wait until there is something to read, doing chores meanwhile.

        Raises:
            TimeoutError: The deadline has passed.
        """
        while True:
            left = self.deadline - time.monotonic()
            if _decrypted(sock) or urllib3.util.wait_for_read(sock, timeout=max(0.0, min(left, self.chores()))):
                # What is there may be half a TLS record: the rest of it must come in time, too.
                sock.settimeout(max(_AT_ONCE, left))
                return
            if left <= 0:
                raise TimeoutError("timed out waiting for the server")

    def _drop_handle(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


def _let_go(descriptor: int) -> None:
    """Close a descriptor, but leave its number taken.

    Closing says nothing on the wire: no TLS farewell, and no FIN while the parent lives. Objects that believe they own
    the number can go on to do so; were it free, one of them would some day close a stranger's file.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, descriptor, inheritable=False)
    finally:
        os.close(nothing)


def _decrypted(sock: Any) -> bool:
    """Whether the TLS layer holds, or may hold, bytes that have left the socket already."""
    if isinstance(sock, SSLTransport):  # TLS inside a proxy's TLS: it does not tell
        return True
    pending = getattr(sock, "pending", None)
    return pending is not None and pending() > 0


class _PatientReads(io.RawIOBase):
    """The bytes of a socket, each portion awaited as ``Wire.wait`` does."""

    def __init__(self, raw: io.RawIOBase, sock: Any, wire: Wire) -> None:
        self._raw = raw
        self._sock = sock
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._wire.wait(self._sock)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PatientAnswer(http.client.HTTPResponse):
    """An answer, of the server or of a proxy to CONNECT, that is read through ``_PatientReads``."""

    def __init__(self, wire: Wire, sock: Any, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        wire.requested()
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_PatientReads(raw, sock, wire), 1 << 16)


class _Connection(urllib3.connection.HTTPConnection):
    """Reports its socket to the wire that it belongs to."""

    def __init__(self, *args: Any, wire: Wire, **named: Any) -> None:
        super().__init__(*args, **named)
        self._wire = wire
        self.response_class = self._answer  # type: ignore[assignment]

    def _answer(self, sock: Any, *args: Any, **named: Any) -> http.client.HTTPResponse:
        return _PatientAnswer(self._wire, sock, *args, **named)

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._wire.connected(self, sock)
        return sock


class _SecureConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same over TLS."""


class _Pools(urllib3.PoolManager):
    """Makes pools whose connections belong to one wire."""

    wire: Wire

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> urllib3.HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        pool.ConnectionCls = _SecureConnection if scheme == "https" else _Connection
        pool.conn_kw["wire"] = self.wire
        return pool


class _PoolsBehindProxy(_Pools, urllib3.ProxyManager):
    """The same through a proxy."""


def _pools(wire: Wire, proxy: str | None, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    named: dict[str, Any] = {"num_pools": 1, "maxsize": 1, "ssl_context": context}
    pools = _Pools(**named) if proxy is None else _PoolsBehindProxy(proxy, proxy_ssl_context=context, **named)
    pools.wire = wire
    return pools
