"""A client's connection, held to its limits: how large a request's head may be, how long a request may take to arrive,
how many connections there may be, and how long a client may take nothing of what is sent to it.

uvicorn parses HTTP and runs the application; what is here is what it leaves open (it waits for ever for the rest of a
head, of a body, and for a reader that has stopped reading).
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

import httptools
from msgspec import Struct
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from fader_server.api.error_forms import Problem, error_body
from fader_server.api.shortcut import Answer, Shortcut
from fader_server.deadlines import Deadlines
from fader_server.logs import logger
from fader_server.telemetry.catalogue import Limit

_log = logger(__name__)

_FOR_PROBES: Final = 64
"""Connections beyond the limit, so that whoever watches the server can still reach it."""

_FAREWELL_SECONDS: Final = 2.0
"""How long a client that still sends may take to read why nobody listens any more. Closing at once would make its
kernel throw the answer away unread (RFC 9112, section 9.6)."""

_LEAST_READ: Final = 16_384
"""Bytes that a slow reader must have taken in time to be given more time."""

_MOST_PIPELINED: Final = 32
"""Requests that may wait for those before them on the same connection."""

_LARGEST_ASIDE: Final = 4_096
"""Bytes of a body of a request that is answered without the application."""

_CROWDED: Final = 0.5
"""The share of all connections that there may be, beyond which those are closed that are used for one short request."""

_CLOSE: Final = (b"connection", b"close")

_MOST_DISCARDED: Final = 65_536
"""Bytes of a body that nobody wants, which are read so that the connection can be used again."""


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """What a connection is held to.

    Args:
        connections: How many there may be.
        head_bytes: Of a request's URL and headers together.
        url_bytes: Of its URL alone.
        request_seconds: From the first byte of a request to its last.
        stuck_seconds: How long a client may take nothing.
    """

    connections: int
    head_bytes: int
    url_bytes: int
    request_seconds: float
    stuck_seconds: float


class _Refusal(Struct, frozen=True):
    status: int
    slug: str
    title: str
    detail: str
    limit: Limit | None = None


_MALFORMED: Final = _Refusal(400, "malformed", "The request cannot be read", "This is not a request in HTTP/1.1.")
_LONG_URL: Final = _Refusal(414, "url-too-long", "URL too long", "The URL is longer than FADER_MAX_URL_BYTES.", "url")
_LARGE_HEAD: Final = _Refusal(
    431, "head-too-large", "Headers too large", "URL and headers are larger than FADER_MAX_HEAD_BYTES.", "head"
)
_SLOW: Final = _Refusal(
    408, "too-slow", "Request too slow", "The request did not arrive within FADER_REQUEST_SECONDS.", "slow_request"
)


class Oversight:
    """What all connections of a server have in common.

    Args:
        limits: What they are held to.
        refused: Whom to tell of those who met a limit.
        shortcuts: What answers some requests without the application.
    """

    def __init__(
        self, limits: ConnectionLimits, refused: Callable[[Limit], None], shortcuts: Iterable[Shortcut] = ()
    ) -> None:
        self.limits = limits
        self.refused = refused
        self.shortcuts = {shortcut.path: shortcut for shortcut in shortcuts}
        self.arriving: Deadlines[Connection] = Deadlines(limits.request_seconds)
        self.stuck: Deadlines[Connection] = Deadlines(limits.stuck_seconds)
        self.leaving: Deadlines[Connection] = Deadlines(_FAREWELL_SECONDS)

    def protocol(self) -> type["Connection"]:
        """What uvicorn makes of each connection."""

        class Overseen(Connection):
            oversight = self

        return Overseen

    async def watch(self) -> None:
        """Look for those who are late, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = min(0.5, self.limits.request_seconds / 2, self.limits.stuck_seconds / 2)
        while True:
            await asyncio.sleep(pause)
            now = loop.time()
            for connection in self.arriving.late(now):
                connection.arrives_too_slowly()
            for connection in self.stuck.late(now):
                connection.reads_too_slowly()
            for connection in self.leaving.late(now):
                connection.transport.abort()


class Connection(HttpToolsProtocol):
    """One connection. ``scope["state"]`` of its requests has ``abort``, which cuts it off at once and frees what waits
    to be sent; ``send``, which is ASGI's without any middleware; and ``is_surplus`` where there are more connections
    than there may be."""

    # Apart from those of uvicorn, which are just few enough for all connections to share the names of their attributes:
    # with more, each would take a kilobyte more.
    __slots__ = (
        "_answers",
        "_aside",
        "_discarded",
        "_head_bytes",
        "_is_deaf",
        "_is_in_head",
        "_is_surplus",
        "_is_whole",
        "_refusal",
        "_shortcut",
        "_unsent",
    )

    oversight: Oversight
    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    """``None`` before the first request, whatever uvicorn's annotation says."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._is_surplus = False
        self._is_deaf = False  # what comes is no longer read as requests
        self._is_in_head = False
        self._is_whole = True  # the request that began last has arrived
        self._head_bytes = 0
        self._discarded = 0
        self._unsent = 0
        self._refusal: _Refusal | None = None
        self._answers: _Answers | None = None
        self._shortcut: Shortcut | None = None
        """What may answer the request that is arriving."""
        self._aside = b""
        """What has come of its body in that case."""

    # The connection begins and ends.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        others = len(self.connections)
        most = self.oversight.limits.connections
        super().connection_made(transport)
        self._answers = _Answers(self, transport)
        if others >= most + _FOR_PROBES:
            self.oversight.refused("connections")
            transport.abort()
            return
        self._is_surplus = others >= most
        self.oversight.arriving.begin(self, self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        for deadlines in (self.oversight.arriving, self.oversight.stuck, self.oversight.leaving):
            deadlines.end(self)
        self._answers = None
        super().connection_lost(exc)
        # They refer to each other. Taken apart they are gone at once; else each of thousands of short connections would
        # be left to the garbage collector, which stops everything for as long as it looks at all streams.
        self._part_with_request()
        self.cycle = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send nothing more.

        Who has sent a whole request may still wait for its answer (RFC 9112, section 9.6). Who was being answered
        already has left: that is how the end of a client that follows a stream is noticed.
        """
        if self._is_deaf or not self._is_whole or self.cycle is None or self.cycle.response_started:
            return False
        self.cycle.keep_alive = False
        return True

    def close_gently(self) -> None:
        """Close, once what was written has been sent; the client may be in the middle of sending."""
        if self._is_whole or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._is_deaf = True
        self.oversight.arriving.end(self)
        self.oversight.leaving.begin(self, self.loop.time())
        self.transport.write_eof()
        self.flow.resume_reading()

    # Requests come in.

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        self.oversight.arriving.begin(self, self.loop.time())
        was_in_head = self._is_in_head
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self._is_deaf:
                self._refuse(self._refusal or _MALFORMED)
            return
        if was_in_head and self._is_in_head:
            # A field that does not end is not reported until it does. Pieces that are nothing but head count, too.
            self._count_head(len(data))
            if self._refusal is not None:
                self._refuse(self._refusal)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # Nothing is offered that one could change to, so it goes on as HTTP/1.1 (RFC 9110, section 7.8).
                data = data[upgrade.args[0] :]
                if data:
                    continue
            return

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._is_deaf:  # since a moment ago: it came together with the end of the one before
            raise ValueError("nobody listens any more")  # stops the parser
        super().on_message_begin()
        self._is_in_head, self._is_whole = True, False
        self._head_bytes = self._discarded = 0
        self.oversight.arriving.end(self)  # of a connection that was made and not used until now
        self.oversight.arriving.begin(self, self.loop.time())
        state = self.scope["state"]
        state["abort"] = self.transport.abort
        if self._is_surplus:
            state["is_surplus"] = True

    def on_url(self, url: bytes) -> None:
        """A part of its URL."""
        super().on_url(url)
        if len(self.url) > self.oversight.limits.url_bytes:
            self._refusal = _LONG_URL
            raise ValueError(_LONG_URL.title)  # stops the parser
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._count_head(len(name) + len(value) + 4)
        if self._refusal is not None:
            raise ValueError(self._refusal.title)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head has arrived."""
        self._is_in_head = False
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many requests at once")
        shortcut = self.oversight.shortcuts.get(self.url)
        if (
            shortcut is not None
            and self.parser.get_method() == shortcut.method
            and self.parser.get_http_version() == "1.1"
            and not (self._is_surplus or self.expect_100_continue or self.flow.write_paused)
            and (self.cycle is None or self.cycle.response_complete)
        ):
            self._shortcut = shortcut
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the application have it."""
        super().on_headers_complete()
        if self.cycle is not None and self._answers is not None:
            self.cycle.transport = self._answers
            self.scope["state"]["send"] = self.cycle.send

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        if self._shortcut is not None:
            self._aside += body
            if len(self._aside) <= _LARGEST_ASIDE:
                return
            body, self._aside, self._shortcut = self._aside, b"", None
            self._hand_over()
        if self.cycle is not None and self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > _MOST_DISCARDED:
                self.close_gently()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It has arrived."""
        self._is_whole = True
        self.oversight.arriving.end(self)
        shortcut, self._shortcut = self._shortcut, None
        if shortcut is not None:
            aside, self._aside = self._aside, b""
            answer = shortcut.answer(self.headers, aside)
            if answer is not None:
                self._send(answer, shortcut)
                return
            self._hand_over()
            super().on_body(aside)
        super().on_message_complete()

    def _send(self, answer: Answer, shortcut: Shortcut) -> None:
        """Answer. Nothing is being answered yet, and the client reads: who does not is left to the application, which
        can wait for it."""
        # Thousands that come at once, each over a connection of its own, must not all keep theirs.
        is_crowded = shortcut.is_once and len(self.connections) > self.oversight.limits.connections * _CROWDED
        lives_on = self.parser.should_keep_alive() and not is_crowded
        fields = self.server_state.default_headers
        head = b"".join(b"%s: %s\r\n" % field for field in (fields if lives_on else [*fields, _CLOSE]))
        self.transport.write(b"%b%b%b\r\n" % (STATUS_LINE[answer.status], head, answer.fields))
        if answer.body:
            self.transport.write(answer.body)
        if not lives_on:
            self.transport.close()
        super().on_response_complete()

    def on_response_complete(self) -> None:
        """It has been answered."""
        self._part_with_request()
        if self._is_deaf:
            self.server_state.total_requests += 1
        else:
            super().on_response_complete()

    def _part_with_request(self) -> None:
        """Let what is known of a request and what answers it refer to each other no longer."""
        if self.cycle is not None:
            self.cycle.scope["state"].pop("send", None)

    def _count_head(self, count: int) -> None:
        self._head_bytes += count
        if self._head_bytes > self.oversight.limits.head_bytes:
            self._refusal = self._refusal or _LARGE_HEAD

    # Somebody met a limit.

    def arrives_too_slowly(self) -> None:
        """A request, or the first one of this connection, has not arrived in time."""
        if self._is_whole:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()  # nothing of a request ever came
            return
        self._refuse(_SLOW)

    def reads_too_slowly(self) -> None:
        """What waits to be sent has not gone out in time."""
        unsent = self.transport.get_write_buffer_size()
        if unsent + _LEAST_READ <= self._unsent:
            self._unsent = unsent
            self.oversight.stuck.begin(self, self.loop.time())
            return
        self.oversight.refused("stuck_reader")
        _log.info("a client does not read what is sent to it", client=self._client_host(), unsent_bytes=unsent)
        self.transport.abort()

    def pause_writing(self) -> None:
        """More waits to be sent than the client takes."""
        self._unsent = self.transport.get_write_buffer_size()
        self.oversight.stuck.begin(self, self.loop.time())
        super().pause_writing()

    def resume_writing(self) -> None:
        """It takes it again."""
        self.oversight.stuck.end(self)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says to what it cannot read."""
        del msg
        self._refuse(self._refusal or _MALFORMED)

    def _refuse(self, refusal: _Refusal) -> None:
        """Answer in the application's place, unless it is answering an earlier request: then that is the last one."""
        cycle = self.cycle
        self._is_deaf = True
        self.oversight.arriving.end(self)
        if refusal.limit is not None:
            self.oversight.refused(refusal.limit)
        _log.info("request refused", status=refusal.status, why=refusal.detail, client=self._client_host())
        if self.pipeline or (cycle is not None and cycle.more_body and cycle.response_started):
            self.transport.close()
        elif cycle is None or cycle.response_complete:
            self._answer(refusal)
        elif cycle.more_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(refusal)
        else:
            cycle.keep_alive = False

    def _answer(self, refusal: _Refusal) -> None:
        request_id = secrets.token_hex(8)
        problem = Problem(
            type=f"urn:fader:problem:{refusal.slug}",
            title=refusal.title,
            status=refusal.status,
            detail=refusal.detail,
            request_id=request_id,
        )
        media_type, body = error_body(self._asked_for(), problem)
        fields = [
            *self.server_state.default_headers,
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            _CLOSE,
        ]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[refusal.status] + head + b"\r\n" + body)
        self._is_whole = False
        self.close_gently()

    def _asked_for(self) -> str:
        """The path of the request that came last, as far as it has come."""
        url: bytes = getattr(self, "url", b"")
        return url.partition(b"?")[0].decode("latin-1")

    def _client_host(self) -> str:
        return self.client[0] if self.client else ""


class _Answers(asyncio.Transport):
    """The transport as the application's answers see it: it closes gently."""

    __slots__ = ("_connection", "_transport", "write")

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        self.write = transport.write  # type: ignore[method-assign]  # without a step in between: it is what is done most

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._connection.close_gently()
