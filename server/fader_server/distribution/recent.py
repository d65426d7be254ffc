"""The newest changes of an environment, for clients that were away for a moment."""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from fader.model import Change

MOST_CHANGES: Final = 1_000
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of changes as JSON. One may be as large as a segment of a million users."""


class RecentChanges:
    """Changes in order and without gaps, each following on the one before. When there are too many, or they are too
    large, the oldest are forgotten.

    Args:
        revision: Where to begin.
        most_changes: How many to keep.
        most_bytes: How large they may be, together, as JSON.
    """

    def __init__(self, revision: int, most_changes: int = MOST_CHANGES, most_bytes: int = MOST_BYTES) -> None:
        self._changes: deque[tuple[Change, int]] = deque()
        self._bytes = 0
        self._most_changes = most_changes
        self._most_bytes = most_bytes
        self.revision = revision
        """Where they lead to."""

    @property
    def since(self) -> int:
        """Where they begin: the earliest revision from which there is a way."""
        return self._changes[0][0].since if self._changes else self.revision

    def append(self, change: Change, size: int) -> None:
        """Add what has just happened; ``size`` is its bytes as JSON."""
        self._changes.append((change, size))
        self._bytes += size
        self.revision = change.revision
        self._forget()

    def extend_back(self, changes: Sequence[Change]) -> None:
        """Add what went before, as far as it joins on."""
        for change in reversed(changes):
            if change.revision == self.since:
                size = len(msgspec.json.encode(change))
                self._changes.appendleft((change, size))
                self._bytes += size
        self._forget()

    def after(self, revision: int) -> list[Change] | None:
        """The way from a revision to the newest; ``None`` if it is not remembered."""
        if not self.since <= revision <= self.revision:
            return None
        return [change for change, _ in self._changes if change.revision > revision]

    def _forget(self) -> None:
        while len(self._changes) > self._most_changes or self._bytes > self._most_bytes:
            self._bytes -= self._changes.popleft()[1]
