"""Everything of a client that belongs to one process: its thread with what the thread looks after, and its name.

Imported when the first client starts, together with all that the thread will ever need: nothing may be imported on
the thread itself, for a fork in that moment would leave the child with a held import lock.
"""

import os
import time
from functools import partial
from typing import Final

from fader.cache import CacheError, DiskCache
from fader.config import Settings, Timing
from fader.fetching import MemberFetcher
from fader.handing_in import HandingIn
from fader.holder import FlagHolder
from fader.member_cache import MemberCache, MemberCacheWriter
from fader.model import Snapshot
from fader.recording import OutcomeReports, Recorder
from fader.status import Journal
from fader.synchronizer import Chore, Synchronizer
from fader.transport import new_instance
from fader.trust import Trust
from fader.usage import Usage, UsageReports

_IDLE: Final = 60.0
_AFTER_FAILURE: Final = 60.0  # seconds; a full disk is not hurried along


class Session:
    """A client's activity in this process.

    Args:
        settings: What the client was told.
        timing: How patient to be.
        holder: Where the flags go.
        usage: Where the counts come from.
        recorder: Where outcomes come from.
        watch: Who wants to know of the status.
        journal: Whom to tell how it goes.
        trust: How to reach and to verify the server, if the parent of this process has found out already.
    """

    def __init__(
        self,
        settings: Settings,
        timing: Timing,
        holder: FlagHolder,
        usage: Usage,
        recorder: Recorder,
        watch: Chore,
        journal: Journal,
        trust: Trust | None = None,
    ) -> None:
        self.pid = os.getpid()
        instance = new_instance()
        self.trust = trust or Trust(settings)
        self._synchronizer = Synchronizer(settings, self.trust, timing, instance, holder, journal)
        chores: list[Chore] = [watch]
        if settings.cache_dir is not None:
            cache = DiskCache(settings.cache_dir, settings.url, settings.sdk_key)
            chores.append(CacheWriter(cache, holder, timing, journal))
            chores.append(MemberCacheWriter(MemberCache(cache.path), holder, timing, journal))
        chores.append(MemberFetcher(holder, self._synchronizer.members, timing, journal))
        chores.append(self._synchronizer.acknowledger)  # with its goodbye, before reports that may take all the time
        outcomes = OutcomeReports(recorder, instance, settings.app)
        send = partial(self._synchronizer.report, "outcomes")
        chores.append(HandingIn(outcomes, timing.outcomes_flush, timing, send, journal))
        if settings.usage:
            counts = UsageReports(usage, instance, settings.app)
            send = partial(self._synchronizer.report, "usage")
            chores.append(HandingIn(counts, timing.usage_flush, timing, send, journal))
        self._chores = chores

    @property
    def confirmed(self) -> bool:
        """Whether the server has confirmed the flags, or sent them, to this process."""
        return self._synchronizer.confirmed

    def start(self) -> None:
        """Start the thread."""
        self._synchronizer.start(self._chores)

    def stop(self) -> None:
        """Begin to end everything, with a goodbye and a last report of usage."""
        self._synchronizer.stop()

    def ended(self) -> None:
        """Wait for the end, in bounded time."""
        self._synchronizer.ended()

    def gone(self) -> None:
        """As ``ended``, with the thread entirely gone. Not for signal handlers and greenlets."""
        self._synchronizer.gone()

    def abandon(self) -> None:
        """In a forked child: leave the parent's connections alone."""
        self._synchronizer.abandon()


class CacheWriter:
    """The chore of keeping the copy on disk up to date, some seconds behind.

    Args:
        cache: Where to write.
        holder: What to write.
        timing: How often.
        journal: Whom to tell how it goes.
    """

    def __init__(self, cache: DiskCache, holder: FlagHolder, timing: Timing, journal: Journal) -> None:
        self._cache = cache
        self._holder = holder
        self._pause = timing.cache_write
        self._journal = journal
        self._written: Snapshot | None = holder.snapshot
        self._due = 0.0

    def run_if_due(self, now: float) -> float:
        """Write if there is something new, and the last time is long enough ago."""
        if self._holder.snapshot is self._written:
            return _IDLE  # what is new comes in on this same thread, which looks here afterwards
        if now >= self._due:
            pause = self._pause if self._write() else _AFTER_FAILURE
            self._due = time.monotonic() + pause
        return max(self._due - now, 0.0)

    def finish(self, within: float) -> None:
        """Write what has not been written yet. It is a local file, so ``within`` is not needed."""
        del within
        if self._holder.snapshot is not self._written:
            self._write()

    def _write(self) -> bool:
        snapshot = self._holder.snapshot
        try:
            if snapshot is not None:
                self._cache.store(snapshot)
        except CacheError as error:
            self._journal.note("cache", f"flags cannot be kept on disk ({error})")
            return False
        self._journal.mended("cache")
        self._written = snapshot
        return True


def load_copy(settings: Settings, holder: FlagHolder, journal: Journal) -> None:
    """Answer from the copy on disk, if there is a good one, until the server is heard."""
    if settings.cache_dir is None:
        return
    cache = DiskCache(settings.cache_dir, settings.url, settings.sdk_key)
    try:
        snapshot = cache.load()
    except CacheError as error:
        journal.note("copy", f"the copy of the flags on disk is of no use ({error})")
        return
    if snapshot is not None:
        members, faults = MemberCache(cache.path).load(snapshot)
        for fault in faults:
            journal.note("copy", f"a copy of a segment's members on disk is of no use ({fault})")
        holder.receive(snapshot, members)
