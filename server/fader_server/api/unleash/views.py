"""An environment as Unleash's SDKs see it: translated when it changes, and only as far as it does; each feature encoded
once, and all of them together once for each revision, however many ask."""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, proxy

import msgspec
from msgspec import UNSET, Raw, Struct

from fader.revisions import affected_flags
from fader_server.api.unleash.documents import (
    Event,
    FeatureRemoved,
    Features,
    FeatureUpdated,
    Hydration,
    Meta,
    Query,
    SegmentRemoved,
    SegmentUpdated,
    event_id,
)
from fader_server.api.unleash.queries import ALL, Selection
from fader_server.api.unleash.tags import tag_of
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import Version
from fader_server.distribution.feed import Encoded
from fader_server.unleash.dialects import Dialect, features_in
from fader_server.unleash.outward import OutwardState, outward, outward_after
from fader_server.unleash.wire import WireFeature, WireSegment

_WORTH_A_THREAD: Final = 65_536

_KeyT = TypeVar("_KeyT", str, int)
_PieceT = TypeVar("_PieceT", WireFeature, WireSegment)


class _Pieces(Struct, frozen=True, eq=False):
    """Features by their names, in order, and segments by their numbers, each as JSON."""

    features: dict[str, Raw]
    segments: dict[int, Raw]


class _Changes:
    """At which revision something last became what it is, as far back as somebody looks."""

    def __init__(self, since: Version) -> None:
        self.since = since
        self._features: dict[str, int] = {}
        self._segments: dict[int, int] = {}

    def note(self, before: OutwardState, now: OutwardState) -> None:
        revision = now.snapshot.revision
        self._features |= dict.fromkeys(_different(before.features, now.features), revision)
        self._segments |= dict.fromkeys(_different(_by_number(before), _by_number(now)), revision)

    def after(self, version: Version) -> tuple[list[str], list[int]] | None:
        """Features and segments that have changed after a version; ``None`` if that is not known."""
        if version.epoch != self.since.epoch or version.revision < self.since.revision:
            return None
        return (
            sorted(name for name, at in self._features.items() if at > version.revision),
            sorted(number for number, at in self._segments.items() if at > version.revision),
        )


class View:
    """One environment. It is brought up to what its feed serves whenever it is looked at. All of it happens on one
    event loop.

    Args:
        feed: Whose. It is for others to keep it, for as long as they use the view.
    """

    def __init__(self, feed: Served) -> None:
        self._feed: Served = proxy(feed)
        self._beginning = asyncio.Lock()
        self._state: OutwardState | None = None
        self._changes = _Changes(feed.version)
        self._held: _Pieces | None = None
        self._encoding: dict[Dialect, asyncio.Task[Encoded]] = {}

    async def begin(self) -> None:
        """Translate everything, once, beside what else there is to do. From then on all is at hand."""
        if self._state is not None:
            return
        async with self._beginning:
            if self._state is None:
                state = await asyncio.to_thread(outward, self._feed.snapshot)
                if self._state is None:  # a stream may have wanted it meanwhile
                    self._replace(state)

    def current(self) -> OutwardState:
        """What is being served, translated."""
        held, snapshot = self._state, self._feed.snapshot
        if held is not None and held.snapshot is snapshot:
            return held
        if held is None or held.snapshot.epoch != snapshot.epoch:
            state = outward(snapshot)
            self._replace(state)
            return state
        state = self._state = outward_after(held, snapshot, affected_flags(held.snapshot, snapshot))
        self._changes.note(held, state)
        self._encoding.clear()
        if self._held is not None:
            self._held = _Pieces(
                _encoded(held.features, state.features, self._held.features),
                _encoded(_by_number(held), _by_number(state), self._held.segments),
            )
        return state

    def _replace(self, state: OutwardState) -> None:
        self._state = state
        self._changes = _Changes(Version(state.snapshot.epoch, state.snapshot.revision))
        self._held = None
        self._encoding.clear()

    @property
    def _pieces(self) -> _Pieces:
        state = self.current()
        if self._held is None:
            self._held = _Pieces(_encoded({}, state.features, {}), _encoded({}, _by_number(state), {}))
        return self._held

    # Whole.

    def feature(self, name: str, dialect: Dialect) -> Raw | None:
        """One feature; ``None`` if there is none of this name."""
        return self._features(dialect).get(name)

    def encoded_at_hand(self, dialect: Dialect) -> Encoded | None:
        """What ``encoded`` returns, if somebody has asked for it already."""
        encoding = self._encoding.get(dialect)
        if encoding is None or not encoding.done() or encoding.cancelled() or encoding.exception() is not None:
            return None
        encoded = encoding.result()
        return encoded if encoded.version is self._feed.version else None

    async def encoded(self, dialect: Dialect) -> Encoded:
        """All features, encoded and compressed once for each revision."""
        await self.begin()
        self.current()
        encoding = self._encoding.get(dialect)
        if encoding is None or (encoding.done() and (encoding.cancelled() or encoding.exception() is not None)):
            encoding = self._encoding[dialect] = asyncio.create_task(self.encoded_some(dialect, ALL, None))
        return await asyncio.shield(encoding)

    async def encoded_some(self, dialect: Dialect, selection: Selection, names: AbstractSet[str] | None) -> Encoded:
        """Some of them.

        Args:
            dialect: In which.
            selection: What was asked for.
            names: What that comes to; ``None`` for all.
        """
        await self.begin()
        features, segments = self._features(dialect), self._pieces.segments
        version, snapshot = self._feed.version, self._feed.snapshot
        query_hash = query_of(dialect, selection, names)
        etag = f'"{tag_of(version, query_hash)}"'
        is_inlined = dialect is Dialect.INLINED
        document = Features(
            features=_some(features, names),
            segments=UNSET if is_inlined else list(segments.values()),
            query=Query(
                project=(snapshot.project,),
                environment=snapshot.environment,
                inline_segment_constraints=is_inlined,
                name_prefix=selection.name_prefix or UNSET,
                tag=selection.tags or UNSET,
            ),
            meta=Meta(revision_id=event_id(version.revision), etag=etag, query_hash=query_hash),
        )
        plain = msgspec.json.encode(document)
        return Encoded(version, etag.encode(), plain, await compressed(plain))

    def _features(self, dialect: Dialect) -> dict[str, Raw]:
        if dialect is Dialect.FULL:
            return self._pieces.features
        # Few SDKs are so old: for them, all is written anew.
        return {feature.name: Raw(msgspec.json.encode(feature)) for feature in features_in(self.current(), dialect)}

    # In events.

    def events_since(self, since: Version | None, names: AbstractSet[str] | None = None) -> tuple[Event, ...]:
        """What leads from a version to what is being served: nothing from that itself, or from a later one, which
        another server has sent, and which this one will come to.

        Args:
            since: What the SDK has; ``None`` for nothing.
            names: The features that it is to have; ``None`` for all.
        """
        version = self._feed.version
        if since is not None and since.epoch == version.epoch and since.revision >= version.revision:
            return ()
        pieces, number = self._pieces, event_id(version.revision)
        changed = None if since is None else self._changes.after(since)
        if changed is None:
            features = _some(pieces.features, names)
            return (Hydration(event_id=number, features=features, segments=list(pieces.segments.values())),)
        return tuple(self._events(number, *changed, names))

    def _events(
        self, number: int, features: list[str], segments: list[int], names: AbstractSet[str] | None
    ) -> list[Event]:
        """Segments first, so that none is missing where a feature asks for it, and away with them last."""
        pieces, project = self._pieces, self._feed.snapshot.project
        events: list[Event] = [
            SegmentUpdated(event_id=number, segment=pieces.segments[segment])
            for segment in segments
            if segment in pieces.segments
        ]
        for name in features:
            piece = pieces.features.get(name) if names is None or name in names else None
            if piece is not None:
                events.append(FeatureUpdated(event_id=number, feature=piece))
            else:
                events.append(FeatureRemoved(event_id=number, feature_name=name, project=project))
        gone = (segment for segment in segments if segment not in pieces.segments)
        events += [SegmentRemoved(event_id=number, segment_id=segment) for segment in gone]
        return events


class Views:
    """Those of all environments that somebody asks for."""

    def __init__(self) -> None:
        self._views: WeakKeyDictionary[Served, View] = WeakKeyDictionary()

    def of(self, feed: Served) -> View:
        """The view of an environment, there for as long as its feed is."""
        view = self._views.get(feed)
        if view is None:
            view = self._views[feed] = View(feed)
        return view


async def compressed(plain: bytes) -> bytes:
    """The same, as gzip has it. The fastest levels give nearly all of the gain on JSON."""
    if len(plain) < _WORTH_A_THREAD:
        return gzip.compress(plain, 3, mtime=0)
    return await asyncio.to_thread(gzip.compress, plain, 3, mtime=0)


def query_of(dialect: Dialect, selection: Selection = ALL, names: AbstractSet[str] | None = None) -> str:
    """What stands in tags for what was asked for; arguments as of ``View.encoded_some``."""
    parts: Any = [dialect.value, selection.name_prefix, selection.tags, None if names is None else sorted(names)]
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=6).hexdigest()


def _by_number(state: OutwardState) -> dict[int, WireSegment]:
    return {segment.id: segment for segment in state.segments.values()}


def _encoded(
    before: Mapping[_KeyT, _PieceT], now: Mapping[_KeyT, _PieceT], held: Mapping[_KeyT, Raw]
) -> dict[_KeyT, Raw]:
    # What has not changed is the same object.
    return {
        key: held[key] if piece is before.get(key) else Raw(msgspec.json.encode(piece)) for key, piece in now.items()
    }


def _different(before: Mapping[_KeyT, _PieceT], now: Mapping[_KeyT, _PieceT]) -> list[_KeyT]:
    return [
        key
        for key in before.keys() | now.keys()
        if before.get(key) is not now.get(key) and before.get(key) != now.get(key)
    ]


def _some(features: Mapping[str, Raw], names: AbstractSet[str] | None) -> list[Raw]:
    return [piece for name, piece in features.items() if names is None or name in names]
