"""Many streams in one process: ``python -m crowds.many_streams URL KEY [TIMING]``, an SDK's patience as JSON.

Each speaks HTTP and Server-Sent Events on a bare socket, which is all that can be had for so many in one process, and
decides when to come back by the SDK's own plan. None takes the server's word for anything: each checks that what it is
sent leads on from what it has.
"""

import asyncio
import contextlib
import random
import resource
import statistics
import sys
import threading
import time
from collections import Counter
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from crowds.orders import obey
from fader.backoff import retry_after
from fader.config import Timing
from fader.plan import Outcome, Plan, Result

_SOURCES: Final = 4 if sys.platform == "linux" else 1
"""Addresses to connect from: one has too few ports for so many streams that come back again and again."""
_AT_ONCE: Final = 200
"""Connections made at the same time for the very first streams."""


class Payload(msgspec.Struct):
    """What all events that bring flags have."""

    epoch: str
    revision: int
    since: int | None = None


class Crowd:
    """All streams, and what happened to them since ``mark``."""

    def __init__(self, url: str, key: str, timing: str = "{}") -> None:
        self.address = urlsplit(url)
        self.key = key
        self.timing = msgspec.json.decode(timing, type=Timing)
        self.followers: list[Follower] = []
        self.violations: list[str] = []
        self.began = time.monotonic()
        self.back: list[float] = []
        self.attempts: Counter[int] = Counter()
        self.outcomes: Counter[str] = Counter()

    def mark(self) -> None:
        """Count from now on."""
        self.began = time.monotonic()
        self.back.clear()
        self.attempts.clear()
        self.outcomes.clear()

    def attempted(self) -> None:
        self.attempts[int(time.monotonic() - self.began)] += 1

    def came_back(self) -> None:
        self.back.append(time.monotonic() - self.began)

    def violated(self, what: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(what)

    async def open(self, count: int) -> None:
        """Begin so many streams more."""
        room = asyncio.Semaphore(_AT_ONCE)
        new = [Follower(self, len(self.followers) + number) for number in range(count)]
        self.followers += new

        async def begin(follower: Follower) -> None:
            async with room:
                await follower.connect()

        await asyncio.gather(*(begin(follower) for follower in new))

    def cut(self) -> None:
        """Cut all connections at once, as a balancer does that is restarted."""
        for follower in self.followers:
            follower.cut()

    def report(self) -> dict[str, Any]:
        """How things are."""
        back = sorted(self.back)
        cuts = statistics.quantiles(back, n=100, method="inclusive") if len(back) > 1 else []
        return {
            "streams": len(self.followers),
            "current": sum(follower.is_current for follower in self.followers),
            "revisions": Counter(follower.revision for follower in self.followers if follower.is_current),
            "back": len(back),
            "back_50": cuts[49] if cuts else None,
            "back_99": cuts[98] if cuts else None,
            "back_100": back[-1] if back else None,
            "attempts": [self.attempts[second] for second in range(max(self.attempts, default=-1) + 1)],
            "outcomes": self.outcomes,
            "violations": self.violations,
        }


class Follower:
    """One client: what it has, and how it comes back."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.epoch, self.revision = "", 0
        self.announced = ""
        self.is_current = False
        self._plan = Plan(crowd.timing, streaming=True, poll_interval=10.0, rng=random.Random(number))
        self._source = f"127.0.0.{1 + number % _SOURCES}"
        self._connection: Connection | None = None

    @property
    def version(self) -> str:
        return f"{self.epoch}-{self.revision}" if self.epoch else ""

    async def connect(self) -> None:
        """Try once; what comes of it decides what follows."""
        crowd, loop = self.crowd, asyncio.get_running_loop()
        crowd.attempted()
        try:
            async with asyncio.timeout(crowd.timing.connect):
                await loop.create_connection(
                    lambda: Connection(self), crowd.address.hostname, crowd.address.port, local_addr=(self._source, 0)
                )
        except (OSError, TimeoutError) as error:
            self.lost(f"no connection ({type(error).__name__})", Outcome(Result.FAILED))

    def connected(self, connection: "Connection") -> None:
        self._connection = connection
        lines = [f"GET {self.crowd.address.path}/sdk/v1/stream HTTP/1.1", f"Host: {self.crowd.address.netloc}"]
        lines += [f"Authorization: Bearer {self.crowd.key}", "Accept: text/event-stream"]
        lines += [f"Last-Event-ID: {self.version}"] if self.epoch else []
        connection.write("\r\n".join([*lines, "", ""]).encode())

    def lost(self, why: str, outcome: Outcome) -> None:
        """The attempt, or the stream, is over."""
        self._connection = None
        self.is_current = False
        self.crowd.outcomes[why] += 1
        pause = self._plan.pause_after(outcome, time.monotonic())
        asyncio.get_running_loop().call_later(pause, self._again)

    def _again(self) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self.connect())

    def cut(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    def opened(self, announced: str) -> None:
        """The stream is there, and says what its first event will bring."""
        self._plan.got_through()
        self.announced = announced
        if announced == self.version:
            self._up_to_date()

    def take(self, name: str, data: bytes) -> None:
        """An event has come."""
        payload = msgspec.json.decode(data, type=Payload)
        if name == "change":
            if payload.epoch != self.epoch or payload.since is None:
                self.crowd.violated(f"a change of {payload.epoch} for a client that has {self.version}")
            elif payload.since != self.revision:
                self.crowd.violated(f"a change from {payload.since} for a client that has {self.version}")
        elif payload.epoch == self.epoch and payload.revision < self.revision:
            self.crowd.violated(f"a snapshot of {payload.revision} for a client that has {self.version}")
        self.epoch, self.revision = payload.epoch, payload.revision
        if not self.is_current:
            if self.version != self.announced:
                self.crowd.violated(f"{self.announced} was announced, and {self.version} came")
            self._up_to_date()

    def _up_to_date(self) -> None:
        self.is_current = True
        self.crowd.came_back()


class Connection(asyncio.Protocol):
    """One attempt: HTTP/1.1 with chunks, and events in them."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._unread = b""
        self._body = b""
        self._status = 0
        self._wait: float | None = None
        self._said_goodbye = False
        self._since = time.monotonic()
        self._longest_wait = follower.crowd.timing.retry_after_longest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._follower.connected(self)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._status:
            head, mark, rest = self._unread.partition(b"\r\n\r\n")
            if not mark:
                return
            self._unread = rest
            self._read_head(head.decode("latin-1"))
        if self._status == 200:
            self._read_chunks()
        else:
            self._transport.abort()

    def _read_head(self, head: str) -> None:
        status, *lines = head.split("\r\n")
        self._status = int(status.split()[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self._status == 200:
            self._follower.opened(fields["fader-version"])
        else:
            self._wait = retry_after(fields.get("retry-after"), time.time(), self._longest_wait)

    def _read_chunks(self) -> None:
        while True:
            line, mark, rest = self._unread.partition(b"\r\n")
            if not mark:
                return
            size = int(line, 16)
            if len(rest) < size + 2:
                return
            self._body += rest[:size]
            self._unread = rest[size + 2 :]
            *events, self._body = self._body.split(b"\n\n")
            for event in events:
                self._read_event(event)

    def _read_event(self, event: bytes) -> None:
        if event.startswith(b":"):
            return
        fields = dict(line.split(b": ", 1) for line in event.split(b"\n"))
        name = fields[b"event"].decode()
        if name == "goodbye":
            self._said_goodbye = True
            self._wait = int(fields[b"retry"]) / 1000
            self._transport.abort()
        else:
            self._follower.take(name, fields[b"data"])

    def connection_lost(self, exc: Exception | None) -> None:
        lived = time.monotonic() - self._since
        if self._said_goodbye:
            self._follower.lost("goodbye", Outcome(Result.ENDED, wait=self._wait, lived=lived))
        elif self._status in {0, 200}:
            self._follower.lost("cut" if self._status else "no answer", Outcome(Result.FAILED, lived=lived))
        else:
            self._follower.lost(str(self._status), Outcome(Result.FAILED, wait=self._wait))


def main() -> None:
    """Run until there are no more orders."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loop = uvloop.new_event_loop()
    crowd = Crowd(*sys.argv[1:4])
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def carry_out(order: dict[str, Any]) -> Any:
        match order:
            case {"do": "open", "count": count}:
                opening.append(loop.create_task(crowd.open(count)))
            case {"do": "mark"}:
                crowd.mark()
            case {"do": "cut"}:
                crowd.cut()
        return crowd.report()

    opening: list[asyncio.Task[None]] = []
    obey(sys.stdin, lambda order: asyncio.run_coroutine_threadsafe(carry_out(order), loop).result())


if __name__ == "__main__":
    main()
