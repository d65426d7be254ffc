"""The answers that a scripted server can give, from well-behaved to hostile."""

import contextlib
import gzip
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping

from sdk_contract.documents import HEARTBEAT, Document, tag
from sdk_contract.exchange import Answer, Exchange, Inbox, Kind
from sdk_contract.waiting import PATIENCE

REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    304: "Not Modified",
}

Step = bytes | Callable[[Exchange], None]
"""One thing that happens on a stream: bytes are sent as one chunk, a callable does what it likes."""


def head(status: int, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def respond(status: int, body: bytes | Document = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """A complete answer of any status. An error without a body gets a problem document."""

    def answer(exchange: Exchange) -> bool:
        raw, kind = body, "application/json"
        if status >= 400 and not raw:
            raw = {"type": "urn:fader:problem:scripted", "title": "Scripted", "status": status}
            kind = "application/problem+json"
        data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        bare = status in (204, 304)
        size = {} if bare else {"Content-Length": str(len(data)), "Content-Type": kind}
        exchange.send(head(status, size | dict(headers or {})) + (b"" if bare else data))
        return True

    return answer


def delimited_by_close(body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """A body whose end is the end of the connection, which cannot be told from a cut."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(200, {"Connection": "close", **(headers or {})}) + body)

    return answer


def raw(data: bytes) -> Answer:
    """These bytes, whatever they are, and then the end of the connection."""
    return lambda exchange: exchange.send(data)


STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Transfer-Encoding": "chunked",
}


def stream_head(exchange: Exchange, heartbeat: float | None = None) -> bytes:
    server = exchange.server
    seconds = server.heartbeat if heartbeat is None else heartbeat
    node = {} if server.node is None else {"Fader-Node": server.node}
    return head(200, {**STREAM_HEADERS, "Fader-Heartbeat": f"{seconds:g}", **node}) + chunk(b": hello\n\n")


def stream(*steps: Step, heartbeat: float | None = None, then_live: bool = False) -> Answer:
    """Begin a proper stream, do the steps, and end it: properly, or by going on with good behaviour."""

    def answer(exchange: Exchange) -> None:
        # Subscribed before the first byte, so that nothing is missed that is pushed in the meantime.
        with exchange.server.subscribed(None) if then_live else contextlib.nullcontext() as live:
            exchange.send(stream_head(exchange, heartbeat))
            for step in steps:
                if callable(step):
                    step(exchange)
                else:
                    exchange.send(chunk(step))
            if live is None:
                exchange.send(b"0\r\n\r\n")
            else:
                _go_on(exchange, live[1])

    return answer


def announcing(version: str, go_on: threading.Event, event: bytes = b"") -> Answer:
    """A stream that says what its first event will bring, shows that it lives, and brings it when it is told to."""

    def answer(exchange: Exchange) -> None:
        exchange.send(head(200, {**STREAM_HEADERS, "Fader-Heartbeat": "60", "Fader-Version": version}))
        exchange.send(chunk(b": hello\n\n"))
        go_on.wait(PATIENCE)
        if event:
            exchange.send(chunk(event))
            exchange.hold(PATIENCE)

    return answer


def hold(exchange: Exchange) -> None:
    """A step: silence, until the client leaves."""
    exchange.hold()


def cut(exchange: Exchange) -> None:
    """A step, and an answer before any header: the connection is reset."""
    exchange.cut()


def cut_inside_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
    exchange.cut()


def silence(exchange: Exchange) -> None:
    """An answer that never comes."""
    exchange.hold()


def headers_then_silence(exchange: Exchange) -> None:
    exchange.send(head(200, STREAM_HEADERS))
    exchange.hold()


def drip(data: bytes, pause: float, size: int = 1) -> Callable[[Exchange], None]:
    """A step: the bytes come ``size`` at a time, each in its own packet and chunk."""

    def step(exchange: Exchange) -> None:
        for start in range(0, len(data), size):
            exchange.send(chunk(data[start : start + size]))
            if pause:
                exchange.hold(pause)

    return step


def raw_on_stream(data: bytes) -> Callable[[Exchange], None]:
    """A step: bytes beneath the chunked framing."""
    return lambda exchange: exchange.send(data)


def good_stream(exchange: Exchange) -> None:
    """What the world has for this client, and then each of its changes as it is made."""
    with exchange.server.subscribed(exchange.request.since) as (first, inbox):
        exchange.send(stream_head(exchange) + (chunk(first) if first else b""))
        _go_on(exchange, inbox)


def _go_on(exchange: Exchange, inbox: Inbox) -> None:
    server = exchange.server
    silent_since = time.monotonic()
    while not server.stopping and not exchange.client_is_gone():
        try:
            said = inbox.get(timeout=0.01)
        except queue.Empty:
            if time.monotonic() - silent_since < server.heartbeat:
                continue
            said = HEARTBEAT
        exchange.send(chunk(said) if said is not None else b"0\r\n\r\n")
        silent_since = time.monotonic()
        if said is None:
            return


def good_snapshot(exchange: Exchange) -> bool:
    with exchange.server.lock:
        document = exchange.server.world.snapshot()
    etag = f'"{tag(document)}"'
    if exchange.request.headers.get("if-none-match") == etag:
        return bool(respond(304, headers={"ETag": etag})(exchange))
    data = json.dumps(document).encode()
    headers = {"ETag": etag, "Content-Type": "application/json"}
    if "gzip" in exchange.request.headers.get("accept-encoding", ""):
        data = gzip.compress(data)
        headers["Content-Encoding"] = "gzip"
    return bool(respond(200, data, headers)(exchange))


GOOD: dict[Kind, Answer] = {
    "stream": good_stream,
    "snapshot": good_snapshot,
    "usage": respond(202),
    "outcomes": respond(202),
    "ack": respond(204),
    "goodbye": respond(204),
    "other": respond(404),
}
