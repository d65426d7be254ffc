"""One environment as SDKs follow it: its snapshot in memory, the changes that led to it, and everybody who listens."""

import asyncio
import gzip
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from fader.model import Change, Snapshot
from fader.revisions import apply_change
from fader_server.distribution.events import Version, change_event, goodbye_event, merged, snapshot_event
from fader_server.distribution.recent import MOST_CHANGES, RecentChanges
from fader_server.distribution.subscription import Ending, Subscription
from fader_server.errors import Unavailable
from fader_server.storage import Store
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEvent

Admit: TypeAlias = Callable[[StreamEvent, int], None]
"""Asked with the kind and the bytes of what a stream would begin with; raises if that cannot be sent now."""

_BATCH: Final = 500
_WORTH_A_THREAD: Final = 65_536
_AFTER_REVOCATION: Final = 1_000  # milliseconds; there is nothing to gain from coming back sooner
_AT_ONCE: Final = 128  # streams; writing to so many sockets takes a few milliseconds
_AFTER_THE_END: Final = 1_000  # milliseconds
_DELTAS: Final = 32
"""First messages kept: those who lost the same server hold one of a few revisions, and need the same."""


class Encoded(msgspec.Struct, frozen=True):
    """A snapshot, ready to be sent."""

    version: Version
    etag: bytes
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
        self._recent = RecentChanges(snapshot.revision)
        self._deltas: dict[int, bytes] = {}
        self._event: bytes | None = None
        self._subscriptions: set[Subscription] = set()
        self._sleeping: set[Subscription] = set()
        self._waking: asyncio.Task[None] | None = None
        self._following = asyncio.Lock()
        self._reaching_back = asyncio.Lock()
        self._encoding: asyncio.Task[Encoded] | None = None
        self.is_over = False
        """Whether the environment is gone. Who subscribes nevertheless is told goodbye at once."""

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

    @property
    def encoded_at_hand(self) -> Encoded | None:
        """What ``encoded`` returns, if somebody has asked for it already."""
        encoding = self._encoding
        if encoding is None or not encoding.done() or encoding.cancelled() or encoding.exception() is not None:
            return None
        return encoding.result()

    async def encoded(self) -> Encoded:
        """The snapshot as bytes: encoded and compressed once per revision, however many ask."""
        encoding = self._encoding
        if encoding is None or (encoding.done() and (encoding.cancelled() or encoding.exception() is not None)):
            encoding = self._encoding = asyncio.create_task(_encode(self._snapshot))
        return await asyncio.shield(encoding)

    async def subscribe(
        self,
        key_id: str,
        since: Version | None,
        *,
        admit: Admit = lambda _event, _size: None,
        abort: Callable[[], None] = lambda: None,
    ) -> Subscription:
        """Open a stream.

        Args:
            key_id: The SDK key that it is opened with.
            since: What the client has already.
            admit: Asked before it is opened.
            abort: Cuts the client's connection, should it fall too far behind.

        Returns:
            A subscription whose first message brings the client to what is being served, and which gets every
            change from there on. It must be given back to ``unsubscribe``.
        """
        if since is not None and since.epoch == self._snapshot.epoch:
            await self._come_together(since)
        # Nothing is awaited from here on, so that no change can come between the first message and the next.
        event: StreamEvent = "change"
        first = self._delta(since)
        if first is None:
            first, event = self._snapshot_event(), "snapshot"
        admit(event, len(first))
        leads_to = since if since is not None and not first else self.version
        subscription = Subscription(key_id, first, leads_to, abort)
        if self.is_over:
            self.dismiss(subscription, _AFTER_THE_END, Ending.GOODBYE)
            return subscription
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
        self._sleeping |= self._subscriptions
        if self._waking is None:
            self._waking = asyncio.create_task(self._wake())
        self._metrics.event_sent(event, len(message), len(self._subscriptions))

    async def _wake(self) -> None:
        """Let them read, a few at a time, so that whatever else the server has to do gets its turn in between."""
        while self._sleeping:
            for _ in range(min(_AT_ONCE, len(self._sleeping))):
                self._sleeping.pop().wake()
            await asyncio.sleep(0)
        self._waking = None

    def end(self, retry_milliseconds: int, *, key_id: str | None = None) -> None:
        """Say goodbye: to everybody and for good, or to those who came with one key."""
        self.is_over = self.is_over or key_id is None
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

    async def catch_up(self, revision: int | None = None) -> None:
        """Read what has been committed since, and pass it on; unless ``revision`` is being served already."""
        async with self._following:
            while revision is None or revision > self._snapshot.revision:
                place = self._snapshot
                committed = await self._store.committed_after(place.project, place.environment, place.revision, _BATCH)
                for one in committed:
                    if one.change.epoch != place.epoch or one.change.since != self._snapshot.revision:
                        await self._begin_anew()
                        return
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
        if snapshot.epoch != self._snapshot.epoch:
            self._metrics.epoch_changed(snapshot.project, snapshot.environment)
        self._recent = RecentChanges(snapshot.revision)
        self._serve(snapshot)
        self.broadcast("snapshot", self._snapshot_event())

    def _advance(self, change: Change) -> None:
        event = change_event(change)
        self._recent.append(change, len(event))
        self._serve(apply_change(self._snapshot, change))
        self.broadcast("change", event)

    def _serve(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._event = self._encoding = None
        self._deltas.clear()

    def _snapshot_event(self) -> bytes:
        if self._event is None:
            self._event = snapshot_event(self._snapshot, msgspec.json.encode(self._snapshot))
        return self._event

    async def _come_together(self, since: Version) -> None:
        """Get what is needed to go on from ``since``. While the database is away, what is in memory must do."""
        with suppress(Unavailable):
            if since.revision > self._snapshot.revision:
                await self.catch_up(since.revision)  # it was at another server, which heard of a change before us
            else:
                await self._reach_back(since.revision)

    async def _reach_back(self, revision: int) -> None:
        """Remember how things came to be from ``revision`` on, if it is not too long ago.

        After a restart nothing is remembered, and everybody comes at once: the first one's question to the database is
        everybody's.
        """
        async with self._reaching_back:
            place, recent = self._snapshot, self._recent
            if revision >= recent.since or recent.revision - revision > MOST_CHANGES:
                return
            older = await self._store.changes_after(place.project, place.environment, revision, MOST_CHANGES)
            if self._recent is recent:
                recent.extend_back([change for change in older if change.epoch == place.epoch])

    def _delta(self, since: Version | None) -> bytes | None:
        """The first message for a client that has ``since``; ``None`` if only a snapshot will do."""
        here = self.version
        if since is None or since.epoch != here.epoch or since.revision > here.revision:
            return None
        if since.revision == here.revision:
            return b""
        known = self._deltas.get(since.revision)
        if known is None:
            way = self._recent.after(since.revision)
            if way is None:
                return None
            if len(self._deltas) >= _DELTAS:
                self._deltas.clear()
            known = self._deltas[since.revision] = change_event(merged(way))
        return known


async def _encode(snapshot: Snapshot) -> Encoded:
    plain = msgspec.json.encode(snapshot)
    # The fastest levels give nearly all of the gain on JSON.
    if len(plain) < _WORTH_A_THREAD:
        gzipped = gzip.compress(plain, 3, mtime=0)
    else:
        gzipped = await asyncio.to_thread(gzip.compress, plain, 3, mtime=0)
    version = Version(snapshot.epoch, snapshot.revision)
    return Encoded(version, f'"{version}"'.encode(), plain, gzipped)
