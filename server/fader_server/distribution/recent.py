"""The newest changes of an environment, for clients that were away for a moment."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from fader.model import Change

MOST_CHANGES: Final = 1_000
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of their events. One may be as large as a segment of a million users."""


class Recent(NamedTuple):
    """A change, and the event that brings it."""

    change: Change
    event: bytes


class RecentChanges:
    """Changes in order and without gaps, each following on the one before. When there are too many, or they are too
    large, the oldest are forgotten.

    Args:
        revision: Where to begin.
        most_changes: How many to keep.
        most_bytes: How large their events may be, together.
    """

    def __init__(self, revision: int, most_changes: int = MOST_CHANGES, most_bytes: int = MOST_BYTES) -> None:
        self._changes: deque[Recent] = deque()
        self._bytes = 0
        self._most_changes = most_changes
        self._most_bytes = most_bytes
        self.revision = revision
        """Where they lead to."""

    @property
    def since(self) -> int:
        """Where they begin: the earliest revision from which there is a way."""
        return self._changes[0].change.since if self._changes else self.revision

    def append(self, recent: Recent) -> None:
        """Add what has just happened."""
        self._changes.append(recent)
        self._bytes += len(recent.event)
        self.revision = recent.change.revision
        self._forget()

    def extend_back(self, changes: Sequence[Recent]) -> None:
        """Add what went before, as far as it joins on."""
        for recent in reversed(changes):
            if recent.change.revision == self.since:
                self._changes.appendleft(recent)
                self._bytes += len(recent.event)
        self._forget()

    def after(self, revision: int) -> list[Recent] | None:
        """The way from a revision to the newest; ``None`` if it is not remembered."""
        if not self.since <= revision <= self.revision:
            return None
        # From the newest on: nearly everybody has one of the last.
        way: list[Recent] = []
        for recent in reversed(self._changes):
            if recent.change.revision <= revision:
                break
            way.append(recent)
        way.reverse()
        return way

    def _forget(self) -> None:
        while len(self._changes) > self._most_changes or self._bytes > self._most_bytes:
            self._bytes -= len(self._changes.popleft().event)
