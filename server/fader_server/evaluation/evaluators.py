"""The evaluators of all environments that somebody asks for, each kept at what its feed serves."""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Final

from fader.members import Members, missing_lists
from fader.model import Change, Snapshot
from fader.revisions import affected_flags
from fader.snapshot import FlagSet
from fader_server.distribution import Distributor, Feed
from fader_server.distribution.events import Version
from fader_server.distribution.member_lists import MemberLists
from fader_server.errors import Unavailable
from fader_server.evaluation.evaluator import Evaluator
from fader_server.evaluation.usage import UsageCounts
from fader_server.storage import Store
from fader_server.telemetry import Metrics

_REPORT_SECONDS: Final = 60.0
_LONGEST_WAIT: Final = 2.0
"""Seconds that somebody waits for a revision that another server has announced. It was committed before that, so one
look into the database finds it, if the database can be asked."""

_LAST_REPORT: Final = 2.0
"""Seconds that it may take at the server's end."""

_LISTS_AGAIN: Final = 1.0
"""Seconds until the database is asked again for a list that it could not give."""

_AT_ONCE: Final = 64
"""Flags compiled before others get their turn; so many take a few milliseconds."""


class Evaluators:
    """Evaluates for those who cannot do it themselves.

    Args:
        distributor: Whose feeds say what there is.
        lists: The long lists that segments name.
        store: Where it is counted what was evaluated.
        clock: The time, aware.
        metrics: Whom to tell of it.
    """

    def __init__(
        self,
        distributor: Distributor,
        lists: MemberLists,
        store: Store,
        clock: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._distributor = distributor
        self._lists = lists
        self._kept: dict[tuple[str, str], _Followed] = {}
        self._usage = UsageCounts(store, clock, metrics)

    def at_hand(self, project: str, environment: str) -> Evaluator | None:
        """What ``of`` returns, where that takes no waiting."""
        kept = self._kept.get((project, environment))
        return kept.evaluator if kept is not None and kept.is_current() else None

    async def of(self, project: str, environment: str) -> Evaluator:
        """The evaluator of an environment, at what is being served.

        Raises:
            NoSuchEnvironment: if there is none.
            Unavailable: if there is nothing in memory, and the database cannot say at the moment.
        """
        at_hand = self.at_hand(project, environment)
        if at_hand is not None:
            return at_hand
        kept = await self._following(project, environment)
        return await kept.current()

    async def at_least(self, project: str, environment: str, version: Version) -> Evaluator:
        """The same, once this server has come to a version that another may have announced before this one heard of it.

        It is waited for, but not for long: an answer of now is better than none. A version of another epoch is not
        waited for.
        """
        kept = await self._following(project, environment)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_LONGEST_WAIT):
                await kept.reach(version)
        return await kept.current()

    async def _following(self, project: str, environment: str) -> "_Followed":
        feed = await self._distributor.feed(project, environment)
        kept = self._kept.get((project, environment))
        if kept is None or kept.feed is not feed:  # or it is another one of that name
            kept = self._kept[project, environment] = _Followed(feed, self._lists)
            self._usage.follow(project, environment, kept.flags.counters)
        return kept

    async def run(self) -> None:
        """Report what was evaluated, until cancelled."""
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            for place in [place for place, kept in self._kept.items() if kept.feed.is_over]:
                del self._kept[place]
                self._usage.forget(*place)
            await self._usage.report()

    async def close(self) -> None:
        """Report a last time, if the database can be asked."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REPORT):
                await self._usage.report()


class _Followed:
    """One environment."""

    def __init__(self, feed: Feed, lists: MemberLists) -> None:
        self.feed = feed
        self.flags = FlagSet(feed.snapshot)
        self.evaluator: Evaluator | None = None
        self._version = feed.version
        self._lists = lists
        self._lists_again = 0.0
        self._advancing = asyncio.Lock()
        self._reaching: asyncio.Task[None] | None = None

    def is_current(self) -> bool:
        evaluator, feed = self.evaluator, self.feed
        return (
            evaluator is not None
            and evaluator.version is feed.version
            and not feed.is_over
            and (evaluator.is_complete or time.monotonic() < self._lists_again)
        )

    async def current(self) -> Evaluator:
        """At what was being served when this was called, or later."""
        async with self._advancing:
            # Whoever was here before has most likely done it.
            if self.evaluator is None or not self.is_current():
                self.evaluator = await self._advance()
            return self.evaluator

    async def reach(self, version: Version) -> None:
        """Bring the feed to a version. One question to the database is that of all who wait meanwhile; who comes while
        it is under way may know of something younger, and asks once more."""
        for _ in range(2):
            if version.epoch != self.feed.version.epoch or version.revision <= self.feed.version.revision:
                return
            if self._reaching is None or self._reaching.done():
                self._reaching = asyncio.create_task(self.feed.catch_up(version.revision))
                self._reaching.add_done_callback(_look_at)
            await asyncio.shield(self._reaching)

    async def _advance(self) -> Evaluator:
        # In one step, so that they belong together, whatever comes meanwhile.
        version, snapshot, change = self.feed.version, self.feed.snapshot, self.feed.change_since(self._version)
        if version is not self._version:
            await self._follow(snapshot, change)
            self._version = version
        if missing_lists(snapshot.segments, self.flags.members):
            await self._fetch_lists()
        if self.evaluator is None:
            await _compile(self.flags, self.flags.snapshot.flags)
        return Evaluator.of(version, self.flags)

    async def _follow(self, snapshot: Snapshot, change: Change | None) -> None:
        before = self.flags
        if change is None:
            self.flags = FlagSet(snapshot, counters=before.counters, members=before.members)
            await _compile(self.flags, snapshot.flags)
            return
        if change.members:
            # A list of a million is copied; nobody should wait for that who does not ask for it.
            self.flags = await asyncio.to_thread(_changed, before, change)
        else:
            self.flags = before.apply_change(change)
        await _compile(self.flags, affected_flags(before.snapshot, self.flags.snapshot))

    async def _fetch_lists(self) -> None:
        missing = missing_lists(self.flags.snapshot.segments, self.flags.members)
        for wanted in {wanted.list: wanted for wanted in missing.values()}.values():
            try:
                members = await self._lists.members(wanted)
            except Unavailable:
                members = None
            if members is None:  # or the list has changed meanwhile, of which we shall hear
                self._lists_again = time.monotonic() + _LISTS_AGAIN
                continue
            await asyncio.to_thread(_prepare, members)
            self.flags = self.flags.with_members(members)
            await _compile(self.flags, self.flags.asking_for(members))


def _look_at(reached: "asyncio.Task[None]") -> None:
    if not reached.cancelled():
        reached.exception()  # known to those who wait, if anybody still does


def _changed(flags: FlagSet, change: Change) -> FlagSet:
    changed = flags.apply_change(change)
    for name in change.members:
        if name in changed.members:
            _prepare(changed.members[name])
    return changed


def _prepare(members: Members) -> None:
    """Do now what the first look-up would have to do."""
    _ = members.contains


async def _compile(flags: FlagSet, keys: Collection[str]) -> None:
    """Compile these flags, a few at a time, so that whoever asks for all flags at once does not hold up everybody else.
    A flag is compiled when it is first evaluated, for whomever."""
    for position, key in enumerate(list(keys)):
        if key in flags.snapshot.flags:
            flags.decide(key, None)
        if position % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
