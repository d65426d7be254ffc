"""The chore of fetching long lists of targeting keys, a part at a time, so that flags never wait behind one.

A list is asked for in ranges, each within a bounded time; between two of them the thread looks after its stream. A list
that is held in an earlier version is only brought up to date, if the server still knows how.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

from fader.backoff import Backoff, retry_after
from fader.config import Timing
from fader.members import SIZE, Members, MembersError, Reader, unpacked
from fader.model import MemberList
from fader.status import Journal
from fader.transport import Answer, Failure, describe

_IDLE: Final = 60.0
_LARGEST_PART: Final = 256 * 1024
_SMALLEST_PART: Final = 4 * 1024
_NOTE: Final = "members"
_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")

Ask: TypeAlias = Callable[[str, Mapping[str, str], int, int, float], Answer]
"""Asks for a part of a segment's list: the segment's key, which list, the first and the last byte, the seconds."""


class Holder(Protocol):
    """Where lists are wanted."""

    @property
    def members(self) -> Mapping[str, Members]:
        """Those that are held, by name."""

    @property
    def missing_lists(self) -> Mapping[str, MemberList]:
        """Those that are not held, or not at the version wanted, by the segments' keys."""

    def receive_members(self, members: Members) -> None:
        """Take one in."""


class MemberFetcher:
    """Fetches what is missing, one list after the other.

    Args:
        holder: Where lists are wanted.
        ask: Whom to ask.
        timing: How patient to be.
        journal: Whom to tell how it goes.
    """

    def __init__(self, holder: Holder, ask: Ask, timing: Timing, journal: Journal) -> None:
        self._holder = holder
        self._ask = ask
        self._timing = timing
        self._journal = journal
        self._backoff = Backoff(timing.backoff_first, timing.backoff_longest)
        self._download: _Download | None = None
        self._postponed: dict[str, float] = {}
        self._distrusted: set[str] = set()
        """Lists that something else came of than was wanted: they are fetched whole."""
        self._part = _LARGEST_PART

    def run_if_due(self, now: float) -> float:
        """Fetch a part if something is missing; returns the seconds until the next may be fetched."""
        missing = self._holder.missing_lists
        if not missing:
            self._download = None
            self._postponed.clear()
            self._distrusted.clear()
            return _IDLE  # what is missing next is heard of on this same thread, which looks here afterwards
        download = self._download
        if download is None or all(download.wanted.list != one.list for one in missing.values()):
            segment = min(missing, key=lambda key: self._postponed.get(key, 0.0))
            name = missing[segment].list
            held = None if name in self._distrusted else self._holder.members.get(name)
            self._download = download = _Download(segment, missing[segment], held)
        due = self._postponed.get(download.segment, 0.0)
        if now < due:
            return due - now
        self._postponed[download.segment] = time.monotonic() + self._step(download)
        return 0.0

    def finish(self, within: float) -> None:
        """Nothing: a list that was half fetched is fetched again some other time."""
        del within

    def _step(self, download: "_Download") -> float:
        """Fetch the next part; returns the seconds to wait before the one after it."""
        first = download.received
        try:
            answer = self._ask(
                download.segment, download.query(), first, first + self._part - 1, self._timing.members_part
            )
        except TimeoutError:
            self._part = max(self._part // 2, _SMALLEST_PART)
            return self._failed("it takes too long")
        except Failure as error:
            return self._failed(describe(error))
        if answer.status not in (200, 206):
            wait = retry_after(answer.headers.get("Retry-After"), time.time(), self._timing.retry_after_longest)
            if wait is not None:  # it is there, and others are being served: what has come so far stays
                return wait + self._backoff.next()
            self._download = None
            return self._failed(f"status {answer.status}")
        try:
            members = download.take(answer)
        except MembersError as error:
            self._download = None
            self._distrusted.add(download.wanted.list)
            return self._failed(str(error))
        self._backoff.reset()
        if members is not None:
            self._download = None
            self._holder.receive_members(members)
            self._journal.mended(_NOTE)
        return 0.0

    def _failed(self, why: str) -> float:
        if self._journal.transport is not None:  # otherwise it has been said already that the server is away
            self._journal.note(_NOTE, f"a segment's members cannot be fetched ({why}); it has those that were known")
        return self._backoff.next()


class _Download:
    """One list, or the way to it from the version that is held, as far as it has come."""

    def __init__(self, segment: str, wanted: MemberList, held: Members | None) -> None:
        self.segment = segment
        self.wanted = wanted
        self.received = 0
        self._held = held
        self._reader = Reader(wanted)
        self._delta = bytearray()
        self._tag: str | None = None

    def query(self) -> dict[str, str]:
        """Which list, and from where on."""
        wanted = self.wanted
        asked = {"list": wanted.list, "version": str(wanted.version), "digest": wanted.digest}
        if self._held is not None:
            before = self._held.described
            asked |= {"since": str(before.version), "since_digest": before.digest}
        return asked

    def take(self, answer: Answer) -> Members | None:
        """Take in a part; returns the list when it is all there.

        Raises:
            MembersError: it does not belong to what has come before, or is no list.
        """
        tag = answer.headers.get("ETag")
        if self._tag not in (None, tag):
            raise MembersError("it has become another one meanwhile")
        self._tag = tag
        first, end, total = _place(answer)
        if first != self.received or end - first != len(answer.body):
            raise MembersError("another part came than was asked for")
        is_delta = answer.headers.get("Fader-Members") == "delta"
        if is_delta:
            self._delta += answer.body
        else:
            self._reader.feed(answer.body)
        self.received = end
        if self.received < total:
            return None
        return self._reader.finish() if not is_delta else self._changed()

    def _changed(self) -> Members:
        if self._held is None:
            raise MembersError("there is nothing that could have changed")
        data = bytes(self._delta)
        begins = SIZE + int.from_bytes(data[:SIZE], "little") * SIZE
        return self._held.changed(self.wanted, unpacked(data[SIZE:begins]), unpacked(data[begins:]))


def _place(answer: Answer) -> tuple[int, int, int]:
    """Where a part begins, where it ends, and how much there is."""
    if answer.status == 200:
        return 0, len(answer.body), len(answer.body)
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None:
        raise MembersError("it is not said which part it is")
    return int(found[1]), int(found[2]) + 1, int(found[3])
