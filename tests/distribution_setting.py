"""A distributor on a real database that a test can hold up, or break, for a moment."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from fader import model
from fader_server.bus import Message
from fader_server.bus.in_process import InProcessBus
from fader_server.clients import Gathering
from fader_server.distribution import Distributor, Feed, Streams, Subscription
from fader_server.distribution.distributor import Pace
from fader_server.distribution.events import OPENING, Version
from fader_server.distribution.subscription import Ending
from fader_server.storage import Store, changes, environments, keys
from fader_server.storage.documents import flag_document
from fader_server.storage.records import Committed, Configuration, Definition, Entry, EnvironmentState, SdkKey
from fader_server.telemetry import Telemetry

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class TroubledStore(Store):
    """A store whose answers a test can hold back, or replace by a fault. It counts what it is asked."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.asked: dict[str, int] = {}

    trouble: Callable[[str, tuple[object, ...]], Awaitable[None]] | None = None
    """Called with the question and its arguments when the answer is known, and before it is given."""

    async def _answer(self, question: str, *arguments: object) -> None:
        self.asked[question] = self.asked.get(question, 0) + 1
        if self.trouble is not None:
            await self.trouble(question, arguments)

    async def environments(self) -> list[EnvironmentState]:
        found = await super().environments()
        await self._answer("environments")
        return found

    async def snapshot(self, project: str, environment: str) -> model.Snapshot | None:
        found = await super().snapshot(project, environment)
        await self._answer("snapshot", environment)
        return found

    async def changes_after(self, project: str, environment: str, revision: int, limit: int) -> list[model.Change]:
        found = [one.change for one in await super().committed_after(project, environment, revision, limit)]
        await self._answer("changes_after", environment, revision)
        return found

    async def committed_after(self, project: str, environment: str, revision: int, limit: int) -> list[Committed]:
        found = await super().committed_after(project, environment, revision, limit)
        await self._answer("committed_after", environment, revision)
        return found

    async def invalid_keys(self, key_ids: Sequence[str], now: datetime) -> set[str]:
        found = await super().invalid_keys(key_ids, now)
        await self._answer("invalid_keys")
        return found

    async def valid_keys(self, project: str, environment: str) -> dict[str, SdkKey]:
        found = await super().valid_keys(project, environment)
        await self._answer("valid_keys", environment)
        return found

    async def change(self, environment: str = "production", key: str = "a", *, times: int = 1) -> int:
        """Write to the log, as a write does; nobody is told."""
        revision = 0
        for _ in range(times):
            definition = Definition(project="default", key=key, created_at=NOW, updated_at=NOW)
            document = flag_document(definition, Configuration(enabled=True))
            entry = Entry(
                kind="flag", key=key, action="on", actor="ada", at=NOW, reason="", before=None, after=document
            )
            async with self.write() as connection:
                revision = await changes.append(connection, "default", environment, entry)
        return revision

    async def create_environment(self, key: str) -> None:
        async with self.write() as connection:
            await environments.insert(connection, "default", [key], NOW)

    async def create_key(self, key_id: str, environment: str) -> None:
        key = SdkKey(
            id=key_id,
            name=key_id,
            project="default",
            environment=environment,
            kind="server",
            prefix="",
            created_at=NOW,
        )
        async with self.write() as connection:
            await keys.insert_key(connection, key, digest=key_id)

    async def delete_environment(self, key: str) -> None:
        async with self.write() as connection:
            await environments.delete(connection, "default", key)


class Setting:
    """A distributor, its store, and the bus."""

    def __init__(self, store: TroubledStore) -> None:
        self.store = store
        self.bus = InProcessBus()
        # Nothing happens by itself unless a test wants it to: the database is asked when the bus has lost messages.
        pace = Pace(heartbeat=3600.0, poll=3600.0, poll_without_bus=3600.0)
        telemetry = Telemetry()
        gathering = Gathering("node", None, True, NOW.timestamp, time.monotonic, telemetry.metrics)
        self.distributor = Distributor(store, self.bus, None, gathering, lambda: NOW, pace, telemetry)
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        await self._stack.enter_async_context(self.distributor.running())

    async def tell(self, message: Message) -> None:
        """Let the distributor hear a message."""
        await self.bus.publish(message)

    async def close(self) -> None:
        await self._stack.aclose()


class Reader:
    """A client in the test's own process. It reads, unless it is told not to."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._unread: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self.is_over = False
        self.subscription: Subscription | None = None

    @property
    def ending(self) -> Ending | None:
        assert self.subscription is not None
        return self.subscription.ending

    def stop(self) -> None:
        """Read nothing more until ``go_on``."""
        self._room.clear()

    def go_on(self) -> None:
        self._room.set()

    async def send(self, message: Any) -> None:
        """As a connection does: waits while the client does not read."""
        if not self._room.is_set():
            await self._room.wait()
        if message["body"]:
            self._unread.append(message["body"])
        self.is_over = not message["more_body"]
        self._arrived.set()

    async def read(self) -> bytes | None:
        """What comes next, in one piece as it was sent; ``None`` at the end."""
        async with asyncio.timeout(20):
            while not self._unread:
                if self.is_over:
                    return None
                self._arrived.clear()
                await self._arrived.wait()
        return self._unread.popleft()


async def open_stream(feed: Feed, key_id: str, since: Version | None, streams: Streams | None = None) -> Reader:
    """Open a stream and follow, as a request does. What it begins with can be read at once, if only a comment."""
    streams = feed.sdk_streams if streams is None else streams
    reader = Reader()
    reader.subscription = await streams.subscribe(key_id, since, reader.send)
    await reader.send({"body": OPENING + reader.subscription.first, "more_body": True})
    await streams.follow(reader.subscription)
    return reader


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
