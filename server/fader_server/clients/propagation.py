"""How long a change took to reach clients: counts in buckets that grow by a constant factor, so that the counts of many
nodes add up, and a quantile of them is off by a few per cent at most, whether it is a millisecond or an hour."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

_SHORTEST: Final = 0.1
"""Milliseconds of the first bucket."""
_GROWTH: Final = 1.1
_LOG_GROWTH: Final = math.log(_GROWTH)


class Propagation(Struct, frozen=True, kw_only=True):
    """Of one revision, at one node or at several.

    Args:
        buckets: Bucket to the number of clients that took so long.
        max_ms: The longest.
    """

    buckets: dict[int, int] = {}
    max_ms: float = 0.0

    @property
    def clients(self) -> int:
        """How many were timed."""
        return sum(self.buckets.values())

    def quantile(self, share: float) -> float:
        """The time, in milliseconds, within which this share of the clients had it.

        Raises:
            ValueError: if there are none.
        """
        clients = self.clients
        if not clients:
            raise ValueError("there are no clients")
        wanted = max(1, math.ceil(share * clients))
        reached = 0
        for bucket in sorted(self.buckets):
            reached += self.buckets[bucket]
            if reached >= wanted:
                # The middle of the bucket; no more than what has really been seen.
                return min(_SHORTEST * math.pow(_GROWTH, bucket - 0.5), self.max_ms)
        return self.max_ms


class Stopwatch:
    """Collects the times of one revision.

    Args:
        committed: When it was written, in seconds since the epoch.
    """

    __slots__ = ("_buckets", "_max_ms", "committed")

    def __init__(self, committed: float) -> None:
        self.committed = committed
        self._buckets: dict[int, int] = {}
        self._max_ms = 0.0

    def stop(self, applied: float) -> float:
        """A client had it at this time.

        Returns:
            How long that took, in seconds. Clocks of two nodes may disagree; what seems to come from the future counts
            as no time.
        """
        seconds = max(applied - self.committed, 0.0)
        milliseconds = seconds * 1000
        bucket = math.ceil(math.log(milliseconds / _SHORTEST) / _LOG_GROWTH) if milliseconds > _SHORTEST else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        if milliseconds > self._max_ms:
            self._max_ms = milliseconds
        return seconds

    @property
    def result(self) -> Propagation:
        """All so far."""
        return Propagation(buckets=dict(self._buckets), max_ms=self._max_ms)


def together(parts: Iterable[Propagation]) -> Propagation:
    """What several nodes have seen, as one."""
    buckets: dict[int, int] = {}
    longest = 0.0
    for part in parts:
        _add(buckets, part.buckets)
        longest = max(longest, part.max_ms)
    return Propagation(buckets=buckets, max_ms=longest)


def _add(buckets: dict[int, int], more: Mapping[int, int]) -> None:
    for bucket, count in more.items():
        buckets[bucket] = buckets.get(bucket, 0) + count
