"""One environment as SDKs follow it: its snapshot in memory, the changes that led to it, and everybody who listens."""

import asyncio
import gzip
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from fader.model import Change, Snapshot
from fader.revisions import apply_change
from fader_server.distribution.events import Version, change_event, goodbye_event, merged, snapshot_event
from fader_server.distribution.subscription import Ending, Subscription
from fader_server.storage import Store
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEvent

T = TypeVar("T")

REMEMBERED: Final = 1_000
"""Changes kept in memory, for clients that resume; whoever was away for longer is served from the database, or gets a
snapshot if that is shorter."""
_BATCH: Final = 500
_WORTH_A_THREAD: Final = 65_536
_AFTER_REVOCATION: Final = 1_000  # milliseconds; there is nothing to gain from coming back sooner


class Encoded(msgspec.Struct, frozen=True):
    """A snapshot, ready to be sent."""

    version: Version
    plain: bytes
    gzipped: bytes


class Feed:
    """Follows one environment. All of it happens on one event loop, so that what a method does between two awaits
    is one step for everybody else: no client misses a change between its first message and the next, or gets it twice.

    Args:
        store: Where changes are read.
        snapshot: Where to begin.
        metrics: Where it is counted what is sent.
        clock: The time, aware.
    """

    def __init__(self, store: Store, snapshot: Snapshot, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._snapshot = snapshot
        self._recent: deque[Change] = deque(maxlen=REMEMBERED)
        self._subscriptions: set[Subscription] = set()
        self._following = asyncio.Lock()
        self._encoding: asyncio.Task[Encoded] | None = None

    @property
    def version(self) -> Version:
        """What is being served."""
        return Version(self._snapshot.epoch, self._snapshot.revision)

    @property
    def snapshot(self) -> Snapshot:
        """What is being served, whole."""
        return self._snapshot

    @property
    def streams(self) -> int:
        """How many listen."""
        return len(self._subscriptions)

    @property
    def key_ids(self) -> set[str]:
        """With which SDK keys they came."""
        return {subscription.key_id for subscription in self._subscriptions}

    async def encoded(self) -> Encoded:
        """The snapshot as bytes: encoded and compressed once per revision, however many ask."""
        if self._encoding is None:
            self._encoding = asyncio.create_task(_encode(self._snapshot))
        return await asyncio.shield(self._encoding)

    async def subscribe(self, key_id: str, since: Version | None) -> Subscription:
        """Open a stream.

        Args:
            key_id: The SDK key that it is opened with.
            since: What the client has already.

        Returns:
            A subscription whose first message brings the client to what is being served, and which gets every
            change from there on. It must be given back to ``unsubscribe``.
        """
        older = await self._older_changes(since)
        while True:
            served = self.version
            event: StreamEvent = "change"
            first = self._delta(since, older)
            if first is None:
                encoded = await self.encoded()
                if encoded.version != self.version:
                    continue  # it has moved on meanwhile
                first, event = snapshot_event(self._snapshot, encoded.plain), "snapshot"
            assert served == self.version  # noqa: S101 (nothing was awaited since)
            subscription = Subscription(key_id, first)
            self._subscriptions.add(subscription)
            if first:
                self._metrics.event_sent(event, len(first))
            return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a stream."""
        self._subscriptions.discard(subscription)

    def broadcast(self, event: StreamEvent, message: bytes) -> None:
        """Send an event to everybody."""
        for subscription in self._subscriptions:
            subscription.put(message)
        self._metrics.event_sent(event, len(message), len(self._subscriptions))

    def end(self, retry_milliseconds: int, *, key_id: str | None = None) -> None:
        """Say goodbye: to everybody, or to those who came with one key."""
        for subscription in list(self._subscriptions):
            if key_id is None or subscription.key_id == key_id:
                self.dismiss(subscription, retry_milliseconds, Ending.GOODBYE if key_id is None else Ending.REVOKED)

    def dismiss(self, subscription: Subscription, retry_milliseconds: int, ending: Ending) -> None:
        """Say goodbye to one."""
        goodbye = goodbye_event(retry_milliseconds)
        subscription.put(goodbye)
        subscription.end(ending)
        self._metrics.event_sent("goodbye", len(goodbye))

    def end_key(self, key_id: str) -> None:
        """A key was revoked: its streams end."""
        self.end(_AFTER_REVOCATION, key_id=key_id)

    def some_subscriptions(self) -> list[Subscription]:
        """All who listen at this moment."""
        return list(self._subscriptions)

    async def catch_up(self) -> None:
        """Read what has been committed since, and pass it on."""
        async with self._following:
            while True:
                place = self._snapshot
                committed = await self._store.committed_after(place.project, place.environment, place.revision, _BATCH)
                if any(one.change.epoch != place.epoch for one in committed):
                    await self._begin_anew()
                    return
                for one in committed:
                    self._advance(one.change)
                    self._metrics.change_propagated((self._clock() - one.at).total_seconds())
                if len(committed) < _BATCH:
                    return

    async def begin_anew(self) -> None:
        """The environment has another epoch: everybody gets a snapshot."""
        async with self._following:
            await self._begin_anew()

    async def _begin_anew(self) -> None:
        snapshot = await self._store.snapshot(self._snapshot.project, self._snapshot.environment)
        if snapshot is None:
            return
        encoded = await _encode(snapshot)
        if snapshot.epoch != self._snapshot.epoch:
            self._metrics.epoch_changed(snapshot.project, snapshot.environment)
        self._snapshot, self._encoding = snapshot, None
        self._recent.clear()
        self.broadcast("snapshot", snapshot_event(snapshot, encoded.plain))

    def _advance(self, change: Change) -> None:
        self._snapshot = apply_change(self._snapshot, change)
        self._encoding = None
        self._recent.append(change)
        self.broadcast("change", change_event(change))

    async def _older_changes(self, since: Version | None) -> list[Change]:
        """What memory does not hold of the way from ``since`` to what is being served."""
        here = self.version
        if since is None or since.epoch != here.epoch or since.revision >= here.revision:
            return []
        oldest = self._recent[0].since if self._recent else here.revision
        if since.revision >= oldest:
            return []
        place = self._snapshot
        changes = await self._store.changes_after(place.project, place.environment, since.revision, REMEMBERED)
        return [change for change in changes if change.revision <= oldest]

    def _delta(self, since: Version | None, older: list[Change]) -> bytes | None:
        """The first message for a client that has ``since``; ``None`` if only a snapshot will do."""
        here = self.version
        if since is None or since.epoch != here.epoch or since.revision > here.revision:
            return None
        if since.revision == here.revision:
            return b""
        way = [change for change in (*older, *self._recent) if change.revision > since.revision]
        reached = since.revision
        for change in way:
            if change.since != reached:
                return None
            reached = change.revision
        return change_event(merged(way)) if reached == here.revision else None


async def _encode(snapshot: Snapshot) -> Encoded:
    plain = msgspec.json.encode(snapshot)
    # The fastest levels give nearly all of the gain on JSON.
    if len(plain) < _WORTH_A_THREAD:
        gzipped = gzip.compress(plain, 3, mtime=0)
    else:
        gzipped = await asyncio.to_thread(gzip.compress, plain, 3, mtime=0)
    return Encoded(Version(snapshot.epoch, snapshot.revision), plain, gzipped)
