"""Keeps the feed of every environment that somebody follows, and keeps each of them current."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from weakref import WeakSet

from msgspec import Struct

from fader.model import Snapshot
from fader_server.bus import Bus, CredentialRevoked, EnvironmentRemoved, Message, MessagesLost, RevisionHint
from fader_server.chores import persistently
from fader_server.clients import Gathering
from fader_server.distribution.copying import Copying
from fader_server.distribution.events import Version
from fader_server.distribution.feed import Encoded, Feed
from fader_server.distribution.subscription import Ending
from fader_server.errors import FaderError, Unavailable
from fader_server.logs import logger
from fader_server.standby import Standby
from fader_server.storage import Store
from fader_server.telemetry import FollowedEnvironment, Telemetry
from fader_server.telemetry.tracing import Attribute

_log = logger(__name__)

_FIRST_RETRY: Final = 1_000
"""Milliseconds after which the first clients come back after a goodbye; SDKs add jitter of their own."""


class NoSuchEnvironment(FaderError):  # noqa: N818 (reads as what happened, like the others)
    """The key is good, and the environment that it was made for is gone."""

    status, slug, title = 404, "not-found", "Not found"


class Pace(Struct, frozen=True, kw_only=True):
    """How often things are done that nobody asks for; all in seconds.

    Args:
        heartbeat: A quiet stream shows that it lives.
        poll: The database is asked for changes that nobody told of.
        poll_without_bus: The same, while nobody would tell.
    """

    heartbeat: float
    poll: float
    poll_without_bus: float


class Distributor:
    """What SDKs are served from.

    Args:
        store: The database.
        bus: Who tells of changes.
        standby: What to begin with while the database is away, if there is anything.
        gathering: Who knows of clients.
        clock: The time, aware.
        pace: How often what is done.
        telemetry: Whom to tell of it.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus[Message],
        standby: Standby | None,
        gathering: Gathering,
        clock: Callable[[], datetime],
        pace: Pace,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bus = bus
        self._standby = standby
        self._gathering = gathering
        self._clock = clock
        self._pace = pace
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._seen: dict[tuple[str, str], Version] = {}
        self._opening = asyncio.Lock()
        self._stumbling: WeakSet[Feed] = WeakSet()
        self._asking = asyncio.Event()
        self._copying = None if standby is None else Copying(store, standby)
        self.is_current = store.is_prepared
        """Whether the database could be asked the last time; while not, what is served may be stale."""
        self.is_closing = False

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(feed.streams for feed in self._feeds.values())

    @property
    def feeds(self) -> int:
        """How many environments can be served without asking the database."""
        return len(self._feeds)

    def followed(self) -> list[FollowedEnvironment]:
        """These environments, as they are served."""
        return [
            FollowedEnvironment(project, environment, feed.version.revision, feed.streams)
            for (project, environment), feed in self._feeds.items()
        ]

    def version(self, project: str, environment: str) -> Version | None:
        """What is being served of an environment, if it is."""
        feed = self._feeds.get((project, environment))
        return None if feed is None else feed.version

    @property
    def hears_all(self) -> bool:
        """Whether every change is told of at once, by whichever server. One that runs alone hears all."""
        return self._bus.hears_all

    @property
    def has_standby(self) -> bool | None:
        """Whether copies can be kept, and so be read; ``None`` if there is nowhere to keep them."""
        return None if self._copying is None else self._copying.is_working and self._bus.hears_all

    async def feed(self, project: str, environment: str) -> Feed:
        """The feed of an environment, opened when it is first asked for.

        Raises:
            NoSuchEnvironment: if there is none.
            Unavailable: if neither the database nor the standby can say at the moment.
        """
        place = project, environment
        feed = self._feeds.get(place)
        if feed is None:
            async with self._opening:
                feed = self._feeds.get(place)
                if feed is None:
                    feed = self._feeds[place] = await self._opened(project, environment)
            # A change committed while the snapshot was being read found no feed to tell.
            if self.is_current:
                await self._follow(feed)
        return feed

    def feed_at_hand(self, project: str, environment: str) -> Feed | None:
        """The feed of an environment, if all is well and it need not be opened first."""
        return self._feeds.get((project, environment)) if self.is_current and not self.is_closing else None

    def encoded(self, project: str, environment: str) -> Encoded | None:
        """The snapshot of an environment as bytes, if all is well and it is at hand."""
        feed = self.feed_at_hand(project, environment)
        return None if feed is None else feed.encoded_at_hand

    async def _opened(self, project: str, environment: str) -> Feed:
        if not self.is_current and (copied := await self._copied(project, environment)) is not None:
            return copied
        try:
            snapshot = await self._store.snapshot(project, environment)
        except Unavailable:
            self._note(is_current=False)
            copied = await self._copied(project, environment)
            if copied is None:
                raise
            return copied
        if snapshot is None:
            raise NoSuchEnvironment(f"There is no environment {environment!r} in project {project!r}.")
        return self._feed_of(snapshot)

    async def _copied(self, project: str, environment: str) -> Feed | None:
        copy = None if self._standby is None else await self._standby.load(project, environment)
        if copy is None:
            return None
        _log.warning("serving a copy of an environment", project=project, environment=environment)
        return self._feed_of(copy.snapshot)

    def _feed_of(self, snapshot: Snapshot) -> Feed:
        roster = self._gathering.roster(snapshot.project, snapshot.environment)
        return Feed(self._store, snapshot, roster, self._telemetry.metrics, self._clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the bus and the database, and keep streams alive, for as long as the context is open."""
        async with self._bus.subscribe() as messages:
            chores = [
                asyncio.create_task(persistently(chore))
                for chore in (lambda: self._listen(messages), self._poll, self._beat, self._copy)
            ]
            try:
                yield
            finally:
                for chore in chores:
                    chore.cancel()
                await asyncio.gather(*chores, return_exceptions=True)

    async def farewell(self, seconds: float) -> None:
        """Say goodbye to all streams, spread over some time so that they do not all come back at once."""
        self.is_closing = True
        kinds = [streams for feed in self._feeds.values() for streams in feed.all_streams()]
        leaving = [(streams, one) for streams in kinds for one in streams.some()]
        pause = seconds / max(len(leaving), 1)
        for position, (streams, subscription) in enumerate(leaving):
            streams.dismiss(subscription, _FIRST_RETRY, Ending.GOODBYE)
            if position % 32 == 31:
                await asyncio.sleep(pause * 32)

    async def _listen(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            match message:
                case RevisionHint(project, environment, revision, trace):
                    feed = self._feeds.get((project, environment))
                    if feed is not None and feed.version.revision < revision:
                        with self._telemetry.tracing.span("broadcast", _place(message, feed), parent=trace):
                            await self._follow(feed)
                case CredentialRevoked(credential_id):
                    for feed in list(self._feeds.values()):
                        feed.end_key(credential_id)
                    if self._copying is not None:
                        self._copying.renew()
                case EnvironmentRemoved() | MessagesLost():
                    # Never believed unseen: what is removed here may have been made anew already.
                    self._asking.set()

    async def _poll(self) -> None:
        while True:
            hears_all = self._bus.hears_all and self.is_current
            seconds = self._pace.poll if hears_all else min(self._pace.poll, self._pace.poll_without_bus)
            try:
                async with asyncio.timeout(seconds):
                    await self._asking.wait()
            except TimeoutError:
                pass
            self._asking.clear()
            await self._ask()

    async def _ask(self) -> None:
        """Find out from the database what nobody has told."""
        # Not those that are opened while it answers: their environments may be younger than the answer.
        feeds = list(self._feeds.items())
        try:
            states = {
                (one.project, one.key): Version(one.epoch, one.revision) for one in await self._store.environments()
            }
            key_ids = {key_id for feed in self._feeds.values() for key_id in feed.key_ids}
            invalid = await self._store.invalid_keys(sorted(key_ids), self._clock()) if key_ids else set()
        except Unavailable:
            self._note(is_current=False)
            return
        self._note(is_current=True)
        # First of all: what was made anew under an old name is no business of those who had a key to the old.
        for _, feed in feeds:
            for key_id in invalid:
                feed.end_key(key_id)
        for place, feed in feeds:
            await self._compare(place, feed, states.get(place))
        for key_id in invalid:
            await self._bus.publish_here(CredentialRevoked(key_id))
        for (project, environment), version in states.items():
            if self._seen.get((project, environment), version) != version:
                await self._bus.publish_here(RevisionHint(project, environment, version.revision))
        self._seen = states

    async def _compare(self, place: tuple[str, str], feed: Feed, version: Version | None) -> None:
        if version is None:
            self._remove(*place)
        elif version.epoch != feed.version.epoch:
            await self._follow(feed, anew=True)
        elif version.revision > feed.version.revision:
            await self._follow(feed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            for feed in list(self._feeds.values()):
                await feed.beat()

    async def _copy(self) -> None:
        while self._copying is not None:
            await self._copying.round(list(self._feeds.values()) if self.is_current else [])

    async def _follow(self, feed: Feed, *, anew: bool = False) -> None:
        try:
            await (feed.begin_anew() if anew else feed.catch_up())
        except Unavailable:
            self._note(is_current=False)
        except Exception:  # noqa: BLE001 (one environment that cannot be read is no reason not to follow the others)
            if feed not in self._stumbling:
                self._stumbling.add(feed)
                place = feed.snapshot.project, feed.snapshot.environment
                _log.exception("an environment cannot be followed; it is tried again", place=":".join(place))
        else:
            self._stumbling.discard(feed)
            self._note(is_current=True)

    def _remove(self, project: str, environment: str) -> None:
        feed = self._feeds.pop((project, environment), None)
        if feed is not None:
            feed.end(_FIRST_RETRY)
            self._gathering.forget(project, environment)

    def _note(self, *, is_current: bool) -> None:
        if is_current is not self.is_current:
            self.is_current = is_current
            if is_current:
                _log.info("the database answers again")
            else:
                _log.warning("the database does not answer; SDKs are served from memory meanwhile")
                self._asking.set()


def _place(hint: RevisionHint, feed: Feed) -> dict[str, Attribute]:
    """For a trace."""
    return {
        "fader.project": hint.project,
        "fader.environment": hint.environment,
        "fader.revision": hint.revision,
        "fader.streams": feed.streams,
    }
