"""How long a change took to reach clients, in the buckets of ``fader.durations``: the counts of many nodes add up."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from fader.durations import bucket_of, within


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
        # No more than what has really been seen.
        return min(within(self.buckets, share), self.max_ms)


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
        bucket = bucket_of(milliseconds)
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
