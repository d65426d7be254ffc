"""Keeps the feed of every environment that somebody follows, and keeps each of them current."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fader_server.bus import Bus, EnvironmentRemoved, KeyRevoked, Message, RevisionHint
from fader_server.distribution.events import HEARTBEAT, goodbye_event
from fader_server.distribution.feed import Feed
from fader_server.distribution.subscription import Ending
from fader_server.errors import FaderError, Unavailable
from fader_server.logs import logger
from fader_server.storage import Store

_log = logger(__name__)

_FIRST_RETRY: Final = 1_000
"""Milliseconds after which the first clients come back after a goodbye; SDKs add jitter of their own."""


class NoSuchEnvironment(FaderError):  # noqa: N818 (reads as what happened, like the others)
    """The key is good, and the environment that it was made for is gone."""

    status, slug, title = 404, "not-found", "Not found"


class Distributor:
    """What SDKs are served from.

    Args:
        store: The database.
        bus: Who tells of changes.
        heartbeat_seconds: How often a stream shows that it lives.
        poll_seconds: How often the database is asked for changes that nobody told of.
    """

    def __init__(self, store: Store, bus: Bus, *, heartbeat_seconds: float, poll_seconds: float) -> None:
        self._store = store
        self._bus = bus
        self._heartbeat_seconds = heartbeat_seconds
        self._poll_seconds = poll_seconds
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._opening = asyncio.Lock()
        self.is_current = True
        """Whether the database could be asked the last time; while not, what is served may be stale."""
        self.is_closing = False

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return sum(feed.streams for feed in self._feeds.values())

    async def feed(self, project: str, environment: str) -> Feed:
        """The feed of an environment, opened when it is first asked for.

        Raises:
            NoSuchEnvironment: if there is none.
            Unavailable: if the database cannot say at the moment.
        """
        place = project, environment
        if place not in self._feeds:
            async with self._opening:
                if place not in self._feeds:
                    snapshot = await self._store.snapshot(project, environment)
                    if snapshot is None:
                        raise NoSuchEnvironment(f"There is no environment {environment!r} in project {project!r}.")
                    self._feeds[place] = Feed(self._store, snapshot)
            # A change committed while the snapshot was being read found no feed to tell.
            await self._follow(self._feeds[place])
        return self._feeds[place]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow the bus and the database, and keep streams alive, for as long as the context is open."""
        async with self._bus.subscribe() as messages:
            chores = [
                asyncio.create_task(self._listen(messages)),
                asyncio.create_task(self._poll()),
                asyncio.create_task(self._beat()),
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
        leaving = [subscription for feed in self._feeds.values() for subscription in feed.some_subscriptions()]
        pause = seconds / max(len(leaving), 1)
        for position, subscription in enumerate(leaving):
            subscription.put(goodbye_event(_FIRST_RETRY))
            subscription.end(Ending.GOODBYE)
            if position % 32 == 31:
                await asyncio.sleep(pause * 32)

    async def _listen(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            match message:
                case RevisionHint(project, environment, revision):
                    feed = self._feeds.get((project, environment))
                    if feed is not None and feed.version.revision < revision:
                        await self._follow(feed)
                case KeyRevoked(key_id):
                    for feed in self._feeds.values():
                        feed.end_key(key_id)
                case EnvironmentRemoved(project, environment):
                    self._remove(project, environment)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                states = {(state.project, state.key): state for state in await self._store.environments()}
            except Unavailable:
                self._note(is_current=False)
                continue
            self._note(is_current=True)
            for place, feed in list(self._feeds.items()):
                state = states.get(place)
                if state is None:
                    self._remove(*place)
                elif state.epoch != feed.version.epoch:
                    await self._follow(feed, anew=True)
                elif state.revision != feed.version.revision:
                    await self._follow(feed)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            for feed in list(self._feeds.values()):
                feed.broadcast(HEARTBEAT)

    async def _follow(self, feed: Feed, *, anew: bool = False) -> None:
        try:
            await (feed.begin_anew() if anew else feed.catch_up())
        except Unavailable:
            self._note(is_current=False)
        else:
            self._note(is_current=True)

    def _remove(self, project: str, environment: str) -> None:
        feed = self._feeds.pop((project, environment), None)
        if feed is not None:
            feed.end(_FIRST_RETRY)

    def _note(self, *, is_current: bool) -> None:
        if is_current is not self.is_current:
            self.is_current = is_current
            if is_current:
                _log.info("the database answers again")
            else:
                _log.warning("the database does not answer; SDKs are served from memory meanwhile")
