"""One environment as SDKs follow it: its snapshot in memory, the changes that led to it, and everybody who listens."""

import asyncio
import gzip
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec

from fader.model import Change, Snapshot
from fader.revisions import apply_change
from fader_server.clients import Roster
from fader_server.distribution.encoding import EncodingFactory
from fader_server.distribution.events import Version, change_event, merged
from fader_server.distribution.recent import MOST_CHANGES, Recent, RecentChanges
from fader_server.distribution.sdk_encoding import SdkEncoding
from fader_server.distribution.streams import Streams
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable
from fader_server.storage import Store
from fader_server.storage.records import Committed
from fader_server.telemetry import Metrics

_BATCH: Final = 500
_WORTH_A_THREAD: Final = 65_536
_AFTER_REVOCATION: Final = 1_000  # milliseconds; there is nothing to gain from coming back sooner


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
        self._changed_at: datetime | None = None
        self._sdk_streams = Streams(self, SdkEncoding(self, roster), metrics)
        self._other_streams: dict[EncodingFactory, Streams] = {}
        self._following = asyncio.Lock()
        self._reaching_back = asyncio.Lock()
        self._encoding: asyncio.Task[Encoded] | None = None
        self._is_over = False
        roster.serves(snapshot.epoch, snapshot.revision)

    @property
    def version(self) -> Version:
        """What is being served."""
        return self._version

    @property
    def is_over(self) -> bool:
        """Whether the environment is gone. Who subscribes nevertheless is told goodbye at once."""
        return self._is_over

    @property
    def snapshot(self) -> Snapshot:
        """What is being served, whole."""
        return self._snapshot

    @property
    def changed_at(self) -> datetime | None:
        """When the newest change was made, if there was one since this feed began."""
        return self._changed_at

    @property
    def streams(self) -> int:
        """How many listen."""
        return sum(map(len, self.all_streams()))

    @property
    def key_ids(self) -> set[str]:
        """With which SDK keys they came."""
        return set[str]().union(*(streams.key_ids for streams in self.all_streams()))

    @property
    def sdk_streams(self) -> Streams:
        """Those of our SDKs."""
        return self._sdk_streams

    def streams_in(self, encoding: EncodingFactory) -> Streams:
        """Those of another kind.

        Args:
            encoding: Makes their encoding when they are first asked for; after that it says which they are.
        """
        streams = self._other_streams.get(encoding)
        if streams is None:
            streams = self._other_streams[encoding] = Streams(self, encoding(self), self._metrics)
        return streams

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

    async def beat(self) -> None:
        """Show everybody that the streams live."""
        for streams in self.all_streams():
            await streams.beat()

    def end(self, retry_milliseconds: int) -> None:
        """Say goodbye to everybody, and for good."""
        self._is_over = True
        for streams in self.all_streams():
            streams.end(retry_milliseconds, Ending.GOODBYE)

    def end_key(self, key_id: str) -> None:
        """A key was revoked: its streams end."""
        for streams in self.all_streams():
            streams.end(_AFTER_REVOCATION, Ending.REVOKED, key_id=key_id)

    def all_streams(self) -> list[Streams]:
        """The streams of each kind."""
        return [self._sdk_streams, *self._other_streams.values()]

    def after(self, since: Version) -> Sequence[Recent] | None:
        """The changes that lead from a version to what is being served; ``None`` if they are not remembered."""
        return self._recent.after(since.revision) if since.epoch == self._version.epoch else None

    def change_since(self, since: Version) -> Change | None:
        """What has become different since a version, as one change; ``None`` for nothing, and where it is not known."""
        way = self.after(since)
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
        self._changed_at = committed or self._changed_at
        self._encoding = None
        self._roster.serves(snapshot.epoch, snapshot.revision, None if committed is None else committed.timestamp())
        for streams in self.all_streams():
            streams.advance()

    async def come_together(self, since: Version | None) -> None:
        """Get what is needed to go on from a version. While the database is away, what is in memory must do."""
        if since is None or since.epoch != self._snapshot.epoch:
            return
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


async def _encode(snapshot: Snapshot) -> Encoded:
    plain = msgspec.json.encode(snapshot)
    # The fastest levels give nearly all of the gain on JSON.
    if len(plain) < _WORTH_A_THREAD:
        gzipped = gzip.compress(plain, 3, mtime=0)
    else:
        gzipped = await asyncio.to_thread(gzip.compress, plain, 3, mtime=0)
    version = Version(snapshot.epoch, snapshot.revision)
    return Encoded(version, f'"{version}"'.encode(), plain, gzipped)
