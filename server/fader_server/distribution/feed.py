"""One environment as SDKs follow it: its snapshot in memory, the changes that led to it, and everybody who listens."""

import asyncio
import gzip
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

import msgspec

from fader.model import Change, Snapshot
from fader.revisions import apply_change
from fader_server.clients import Roster
from fader_server.distribution.events import (
    Delivery,
    Version,
    body,
    change_event,
    goodbye_event,
    merged,
    snapshot_event,
)
from fader_server.distribution.fan_out import FanOut
from fader_server.distribution.recent import MOST_CHANGES, Recent, RecentChanges
from fader_server.distribution.subscription import Ending, Send, Subscription
from fader_server.errors import Unavailable
from fader_server.storage import Store
from fader_server.storage.records import Committed
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEvent

Admit: TypeAlias = Callable[[StreamEvent, int], None]
"""Asked with the kind and the bytes of what a stream would begin with; raises if that cannot be sent now."""

_BATCH: Final = 500
_WORTH_A_THREAD: Final = 65_536
_AFTER_REVOCATION: Final = 1_000  # milliseconds; there is nothing to gain from coming back sooner
_AFTER_THE_END: Final = 1_000  # milliseconds
_WAYS: Final = 32
"""Ways kept: those who lost the same server hold one of a few revisions, and need the same."""

_ONE_BY_ONE: Final = 16
"""Changes that are sent as they were made; more, or larger ones, are sent as one that comes to the same."""
_ONE_BY_ONE_BYTES: Final = 16_384

_KnownT = TypeVar("_KnownT", Version, Version | None)


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
        roster: Who follows it, and has come how far.
        metrics: Where it is counted what is sent.
        clock: The time, aware.
    """

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        roster: Roster,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._roster = roster
        self._metrics = metrics
        self._clock = clock
        self._snapshot = snapshot
        self._version = Version(snapshot.epoch, snapshot.revision)
        self._recent = RecentChanges(snapshot.revision)
        self._ways: dict[Version, Delivery] = {}
        self._beginnings: dict[Version | None, Delivery] = {}
        self._whole: Delivery | None = None
        self._subscriptions: set[Subscription] = set()
        self._fan_out = FanOut(self._way, metrics)
        self._following = asyncio.Lock()
        self._reaching_back = asyncio.Lock()
        self._encoding: asyncio.Task[Encoded] | None = None
        self.is_over = False
        """Whether the environment is gone. Who subscribes nevertheless is told goodbye at once."""
        roster.serves(snapshot.epoch, snapshot.revision)

    @property
    def version(self) -> Version:
        """What is being served."""
        return self._version

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
        self, key_id: str, since: Version | None, send: Send, *, admit: Admit = lambda _event, _size: None
    ) -> Subscription:
        """Open a stream.

        Args:
            key_id: The SDK key that it is opened with.
            since: What the client has already.
            send: Sends to the client.
            admit: Asked before it is opened.

        Returns:
            A subscription whose first message brings the client to what is being served. Who has sent that calls
            ``follow``, so that it gets every change from there on. It must be given back to ``unsubscribe``.
        """
        if since is not None and since.epoch == self._snapshot.epoch:
            await self._come_together(since)
        # Nothing is awaited from here on, so that no change can come in between.
        way = self._beginning(since)
        event: StreamEvent = "change" if way is None else way.event
        first = b"" if way is None else way.message["body"]
        admit(event, len(first))
        subscription = Subscription(key_id, send, first, self._version)
        if self.is_over:
            self.dismiss(subscription, _AFTER_THE_END, Ending.GOODBYE)
            return subscription
        self._subscriptions.add(subscription)
        if way is not None:
            self._metrics.event_sent(event, len(first))
        return subscription

    async def follow(self, subscription: Subscription) -> None:
        """Send whatever has changed since the first message, and everything from then on."""
        await self._fan_out.join(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a stream."""
        self._subscriptions.discard(subscription)
        self._fan_out.remove(subscription)

    async def beat(self) -> None:
        """Show everybody that the streams live."""
        await self._fan_out.beat()

    def end(self, retry_milliseconds: int, *, key_id: str | None = None) -> None:
        """Say goodbye: to everybody and for good, or to those who came with one key."""
        self.is_over = self.is_over or key_id is None
        for subscription in list(self._subscriptions):
            if key_id is None or subscription.key_id == key_id:
                self.dismiss(subscription, retry_milliseconds, Ending.GOODBYE if key_id is None else Ending.REVOKED)

    def dismiss(self, subscription: Subscription, retry_milliseconds: int, ending: Ending) -> None:
        """Say goodbye to one."""
        self._fan_out.dismiss(subscription, ending, goodbye_event(retry_milliseconds))

    def end_key(self, key_id: str) -> None:
        """A key was revoked: its streams end."""
        self.end(_AFTER_REVOCATION, key_id=key_id)

    def some_subscriptions(self) -> list[Subscription]:
        """All who listen at this moment."""
        return list(self._subscriptions)

    def change_since(self, since: Version) -> Change | None:
        """What has become different since a version, as one change; ``None`` for nothing, and where it is not known."""
        way = self._after(since)
        return merged(recent.change for recent in way) if way else None

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
                    self._advance(one)
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

    def _advance(self, committed: Committed) -> None:
        change = committed.change
        self._recent.append(self._recall(change))
        self._serve(apply_change(self._snapshot, change), committed.at)

    def _recall(self, change: Change) -> Recent:
        return Recent(change, change_event(change, self._roster.ack_within_ms))

    def _serve(self, snapshot: Snapshot, committed: datetime | None = None) -> None:
        self._snapshot = snapshot
        self._version = Version(snapshot.epoch, snapshot.revision)
        self._encoding = self._whole = None
        self._ways.clear()
        self._beginnings.clear()
        self._roster.serves(snapshot.epoch, snapshot.revision, None if committed is None else committed.timestamp())
        self._fan_out.advance()

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
                recent.extend_back([self._recall(change) for change in older if change.epoch == place.epoch])

    def _way(self, since: Version) -> Delivery | None:
        """What leads a stream that follows from a version to the newest; ``None`` for the newest itself."""
        here = self._version
        if since is here or since == here:
            return None
        return self._once(self._ways, since, lambda: self._as_it_happened(since) or self._from(since))

    def _beginning(self, since: Version | None) -> Delivery | None:
        """What a stream begins with."""
        if since == self._version:
            return None
        return self._once(self._beginnings, since, lambda: self._from(since))

    def _once(self, known: dict[_KnownT, Delivery], since: _KnownT, made: Callable[[], Delivery]) -> Delivery:
        found = known.get(since)
        if found is None:
            if len(known) >= _WAYS:
                known.clear()
            found = known[since] = made()
        return found

    def _as_it_happened(self, since: Version) -> Delivery | None:
        """Change by change, if there are few."""
        way = self._after(since)
        if not way or len(way) > _ONE_BY_ONE or sum(len(recent.event) for recent in way) > _ONE_BY_ONE_BYTES:
            return None
        return Delivery("change", body(b"".join(recent.event for recent in way)), self._version)

    def _from(self, since: Version | None) -> Delivery:
        """In one event."""
        way = None if since is None else self._after(since)
        if not way:
            if self._whole is None:
                event = snapshot_event(self._snapshot, self._roster.ack_within_ms)
                self._whole = Delivery("snapshot", body(event), self._version)
            return self._whole
        event = way[0].event if len(way) == 1 else self._merged(way)
        return Delivery("change", body(event), self._version)

    def _merged(self, way: Sequence[Recent]) -> bytes:
        return change_event(merged(recent.change for recent in way), self._roster.ack_within_ms)

    def _after(self, since: Version) -> Sequence[Recent] | None:
        return self._recent.after(since.revision) if since.epoch == self._version.epoch else None


async def _encode(snapshot: Snapshot) -> Encoded:
    plain = msgspec.json.encode(snapshot)
    # The fastest levels give nearly all of the gain on JSON.
    if len(plain) < _WORTH_A_THREAD:
        gzipped = gzip.compress(plain, 3, mtime=0)
    else:
        gzipped = await asyncio.to_thread(gzip.compress, plain, 3, mtime=0)
    version = Version(snapshot.epoch, snapshot.revision)
    return Encoded(version, f'"{version}"'.encode(), plain, gzipped)
