"""Many streams in one process, which notes when each of them was sent what:
``python -m crowds.timed_streams URL KEY [--keep-connections]``, the latter for those that acknowledge.

While events arrive nothing is done with them but to note the time, so that reading one does not make the next late.
Once it is quiet, everything is read and checked: each client must be led from what it has to what is new, without a
gap, a repetition, or a step back. Those whom the server asks to acknowledge do so at the moment at which an SDK would.
"""

import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import socket
import sys
import threading
import time
from array import array
from collections import defaultdict, deque
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from crowds.acknowledging import Acknowledging, Sender
from crowds.orders import obey
from crowds.processor import Taken
from fader.backoff import retry_after

_SOURCES: Final = 100 if sys.platform == "linux" else 1
"""Addresses to connect from: acknowledgements use up ports faster than one address gets them back."""
_AT_ONCE: Final = 100
"""Streams that are opened at the same time."""
_QUIET: Final = 0.02
"""Seconds without an arrival after which what has arrived is read."""
_LONGEST_UNREAD: Final = 0.5
"""Seconds after which it is read even if more arrives all the time."""
_READ_AT_ONCE: Final = 64
"""Arrivals that are read before the loop looks at the sockets again: a few tenths of a millisecond."""
_TEXTS: Final = 4_096
"""Different texts that are remembered: what 10,000 clients are sent is parsed once."""
_LONGEST_WAIT: Final = 60.0
_VIOLATIONS: Final = 20


class Payload(msgspec.Struct):
    """What all events that bring flags have."""

    epoch: str
    revision: int
    since: int | None = None
    ack_within_ms: int = 0


class Event(msgspec.Struct, frozen=True):
    """One event, as it was sent."""

    name: str
    id: str
    payload: Payload
    size: int


def parse(text: bytes) -> tuple[Event, ...]:
    """The events in what a server sent; comments are none."""
    events = []
    for part in text.split(b"\n\n"):
        if part and not part.startswith(b":"):
            fields = dict(line.split(b": ", 1) for line in part.split(b"\n"))
            payload = msgspec.json.decode(fields[b"data"], type=Payload)
            events.append(Event(fields[b"event"].decode(), fields.get(b"id", b"").decode(), payload, len(part) + 2))
    return tuple(events)


class Crowd:
    """All streams, and what they were sent."""

    def __init__(self, url: str, key: str, *, keeps_connections: bool) -> None:
        self.address = urlsplit(url)
        self.key = key
        self.host = socket.gethostname()
        self.listeners: list[Listener] = []
        self.acknowledging = Acknowledging(
            self.address.hostname or "", self.address.port or 80, keeps_connections=keeps_connections
        )
        self.receipts: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        """By revision, when clients got it: nanoseconds of the clock that all processes share."""
        self.violations: list[str] = []
        self.lost: list[str] = []
        self.event_size = 0
        self._arrivals: deque[tuple[int, Listener, bytes]] = deque()
        self.arrived = self._arrivals.append
        self._has_read = asyncio.Event()
        self._texts: dict[bytes, tuple[Event, ...]] = {}
        self._taken: deque[Taken] = deque(maxlen=20_000)

    def violated(self, what: str) -> None:
        if len(self.violations) < _VIOLATIONS:
            self.violations.append(what)

    def parsed(self, text: bytes) -> tuple[Event, ...]:
        """What ``parse`` returns."""
        events = self._texts.get(text)
        if events is None:
            if len(self._texts) >= _TEXTS:
                self._texts.clear()
            events = self._texts[text] = parse(text)
        return events

    async def read(self) -> None:
        """Read what has arrived, whenever nothing else arrives; for ever."""
        arrivals = self._arrivals
        while True:
            await asyncio.sleep(_QUIET)
            self._taken.append(Taken.now())
            while arrivals and self._is_time_to_read():
                for _ in range(min(_READ_AT_ONCE, len(arrivals))):
                    at, listener, data = arrivals.popleft()
                    listener.take(at, data)
                await asyncio.sleep(0)
            self._has_read.set()  # those who wait see it, though it is cleared at once
            self._has_read.clear()

    def _is_time_to_read(self) -> bool:
        now = time.monotonic_ns()
        oldest, newest = self._arrivals[0][0], self._arrivals[-1][0]
        return now - newest > _QUIET * 1e9 or now - oldest > _LONGEST_UNREAD * 1e9

    async def open(self, count: int, patience: float) -> dict[str, Any]:
        """Open so many streams more, and wait until each has been told where it is."""
        room = asyncio.Semaphore(_AT_ONCE)
        new = [Listener(self, len(self.listeners) + number) for number in range(count)]
        self.listeners += new

        async def begin(listener: Listener) -> None:
            async with room:
                await listener.open()

        async with asyncio.timeout(patience):
            await asyncio.gather(*(begin(listener) for listener in new))
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing here is in cycles, and a pause to look for them would be taken for the server's
        return self.report()

    async def all_have(self, revision: int, patience: float) -> dict[str, Any]:
        """Wait until everybody has been sent a revision, and say when each was."""
        times = self.receipts[revision]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while len(times) < len(self.listeners) and not self.lost:
                    await self._has_read.wait()
        return {**self.report(), "times": sorted(times), **(self.share(min(times), max(times)) if times else {})}

    async def answered(self, patience: float) -> dict[str, Any]:
        """Wait until all acknowledgements have been answered."""
        begin = Taken.now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while any(listener.owes for listener in self.listeners):
                    await self._has_read.wait()
        return {**self.report(), **begin.until(Taken.now())._asdict()}

    def history(self) -> dict[int, list[int]]:
        """Of every revision, when clients got it; and forget it."""
        times = {revision: times.tolist() for revision, times in self.receipts.items()}
        self.receipts.clear()
        return times

    def share(self, begin: int, end: int) -> dict[str, float]:
        """Of the processors, between two moments or a little longer."""
        first = next((taken for taken in reversed(self._taken) if taken.at <= begin), self._taken[0])
        last = next((taken for taken in self._taken if taken.at >= end), Taken.now())
        return first.until(last)._asdict()

    def report(self) -> dict[str, Any]:
        """How things are."""
        return {
            "streams": sum(listener.is_open for listener in self.listeners),
            "violations": self.violations,
            "lost": self.lost[:_VIOLATIONS],
            "acknowledgements": self.acknowledging.answers,
            "event_size": self.event_size,
        }


class Listener(asyncio.Protocol):
    """One client: its stream, what it has, and when it will acknowledge that."""

    __slots__ = (
        "_acknowledged",
        "_acknowledged_at",
        "_applied_at",
        "_arrived",
        "_body",
        "_crowd",
        "_epoch",
        "_head",
        "_instance",
        "_node",
        "_opened",
        "_owes",
        "_revision",
        "_sender",
        "_source",
        "_transport",
        "_unread",
        "_window",
    )

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._arrived = crowd.arrived
        self._instance = f"{crowd.host}:{os.getpid()}:{number}"
        self._source = f"127.0.1.{1 + number % _SOURCES}" if _SOURCES > 1 else "127.0.0.1"
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[float | None] | None = None
        self._epoch, self._revision = "", 0
        self._applied_at = self._acknowledged_at = self._acknowledged = self._window = 0
        self._owes = False
        self._sender = Sender(self._source, self._acknowledgement, self._answered)
        self._forget()

    def _forget(self) -> None:
        self._head = self._node = b""
        self._unread = self._body = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and self._revision > 0

    @property
    def owes(self) -> bool:
        """Whether an acknowledgement is due, now or later, or under way."""
        return self._owes

    async def open(self) -> None:
        """Try until the stream is open, as the server allows."""
        loop, address = asyncio.get_running_loop(), self._crowd.address
        while True:
            self._forget()
            opened = self._opened = loop.create_future()
            await loop.create_connection(lambda: self, address.hostname, address.port, local_addr=(self._source, 0))
            wait = await opened
            if wait is None:
                return
            await asyncio.sleep(wait)

    # While events arrive.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(
            b"GET %s/sdk/v1/stream HTTP/1.1\r\n%s\r\n" % (self._crowd.address.path.encode(), self._headers())
        )

    def data_received(self, data: bytes) -> None:
        self._arrived((time.monotonic_ns(), self, data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._opened is None:
            self._crowd.lost.append(f"{self._instance} at {self._revision}: {exc or 'the server closed the stream'}")
        elif not self._opened.done():
            self._opened.set_result(1.0)

    def _headers(self) -> bytes:
        crowd = self._crowd
        fields = {
            "Host": crowd.address.netloc,
            "Authorization": f"Bearer {crowd.key}",
            "Fader-Instance": self._instance,
            "Fader-App": "crowd",
            "Fader-Host": crowd.host,
            "User-Agent": "fader-python/0",
        }
        return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()

    # Afterwards.

    def take(self, at: int, data: bytes) -> None:
        """Read what arrived at a moment."""
        if not self._head:
            head, mark, rest = (self._unread + data).partition(b"\r\n\r\n")
            if not mark:
                self._unread += data
                return
            self._unread, data = b"", rest
            if not self._read_head(head):
                return
        if not self._unread and not self._body and data.endswith(b"\n\n\r\n"):
            text = _content(data)
            if text is not None:
                self._take_events(at, text)
                return
        self._unread += data
        while (chunk := _first_chunk(self._unread)) is not None:
            content, self._unread = chunk
            self._body += content
        end = self._body.rfind(b"\n\n") + 2
        if end > 1:
            text, self._body = self._body[:end], self._body[end:]
            self._take_events(at, text)

    def _read_head(self, head: bytes) -> bool:
        self._head = head
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
        }
        if not head.startswith(b"HTTP/1.1 200"):
            wait = retry_after(fields.get("retry-after"), time.time(), _LONGEST_WAIT)
            if wait is None or self._opened is None:
                self._crowd.violated(f"{self._instance} was answered {head!r}")
            if self._transport is not None:
                self._transport.abort()
            if self._opened is not None:
                self._opened.set_result(wait or 1.0)
            return False
        self._node = fields.get("fader-node", "").encode()
        return True

    def _take_events(self, at: int, text: bytes) -> None:
        for event in self._crowd.parsed(text):
            self._apply(at, event)

    def _apply(self, at: int, event: Event) -> None:
        crowd, payload, had = self._crowd, event.payload, self._revision
        if event.id != f"{payload.epoch}-{payload.revision}":
            crowd.violated(f"{self._instance}: {event.id} is said to be {payload.epoch}-{payload.revision}")
        if event.name == "change":
            if payload.epoch != self._epoch or payload.since != had or payload.revision <= had:
                crowd.violated(f"{self._instance}: from {payload.since} to {event.id}, and it had {self._epoch}-{had}")
            crowd.event_size = event.size
        elif event.name != "snapshot" or (payload.epoch == self._epoch and payload.revision <= had):
            crowd.violated(f"{self._instance}: a {event.name} of {event.id}, and it had {self._epoch}-{had}")
        self._epoch, self._revision = payload.epoch, payload.revision
        if self._opened is not None:
            self._opened.set_result(None)
            self._opened = None
        else:
            for revision in range(had + 1, payload.revision + 1):
                crowd.receipts[revision].append(at)
        self._applied_at = at
        self._window = payload.ack_within_ms * 1_000_000
        # Servers that know of no acknowledgements do not name the node.
        if self._node and not self._owes:
            self._owe()

    # Acknowledgements.

    def _owe(self) -> None:
        """There is something to acknowledge. If there is something newer by then, that is what will be."""
        self._owes = True
        due = max(self._applied_at + int(random.random() * self._window), self._acknowledged_at + self._window)
        self._later(max(0.0, (due - time.monotonic_ns()) / 1e9))

    def _later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._crowd.acknowledging.send, self._sender)

    def _answered(self, how: str) -> None:
        if how != "204":
            self._later(1.0 + random.random())
            return
        self._owes = False
        if self._revision > self._acknowledged:
            self._owe()

    def _acknowledgement(self) -> bytes:
        self._acknowledged_at = now = time.monotonic_ns()
        self._acknowledged = self._revision
        body = json.dumps(
            {
                "instance": self._instance,
                "epoch": self._epoch,
                "revision": self._revision,
                "applied": True,
                "held_ms": (now - self._applied_at) // 1_000_000,
                "node": self._node.decode(),
            }
        ).encode()
        head = b"POST %s/sdk/v1/ack HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % (self._crowd.address.path.encode(), self._headers(), len(body)) + body


def _first_chunk(data: bytes) -> tuple[bytes, bytes] | None:
    """What the first chunk holds (RFC 9112, section 7.1), and the rest, if the chunk is complete."""
    size, mark, rest = data.partition(b"\r\n")
    if not mark:
        return None
    length = int(size, 16)
    return (rest[:length], rest[length + 2 :]) if len(rest) >= length + 2 else None


def _content(data: bytes) -> bytes | None:
    """What chunks hold, if they are complete."""
    contents = []
    while data:
        chunk = _first_chunk(data)
        if chunk is None:
            return None
        content, data = chunk
        contents.append(content)
    return b"".join(contents)


async def _run() -> None:
    url, key, *options = sys.argv[1:]
    crowd, loop = Crowd(url, key, keeps_connections="--keep-connections" in options), asyncio.get_running_loop()
    reading = asyncio.create_task(crowd.read())

    async def carry_out(order: dict[str, Any]) -> Any:
        match order:
            case {"do": "open", "count": count, "patience": patience}:
                return await crowd.open(count, patience)
            case {"do": "all_have", "revision": revision, "patience": patience}:
                return await crowd.all_have(revision, patience)
            case {"do": "answered", "patience": patience}:
                return await crowd.answered(patience)
            case {"do": "share", "begin": begin, "end": end}:
                return {**crowd.report(), **crowd.share(begin, end)}
            case {"do": "history"}:
                return crowd.history()
        return crowd.report()

    def take_orders() -> None:
        try:
            obey(sys.stdin, lambda order: asyncio.run_coroutine_threadsafe(carry_out(order), loop).result())
        finally:
            loop.call_soon_threadsafe(reading.cancel)

    # Orders on the other thread: the loop is on the main one, whose share of the processors the system tells.
    threading.Thread(target=take_orders, daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


def main() -> None:
    """Run until there are no more orders."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_run())


if __name__ == "__main__":
    main()
