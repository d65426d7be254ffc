"""How long things took: counts in buckets that grow by a constant factor, so that the counts of many processes add up,
and a quantile of them is off by a few per cent at most, whether it is a millisecond or an hour."""

import math
from collections.abc import Mapping
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

BUCKETS: Final = 201
"""The last one has what took 5 hours or longer."""

_SHORTEST: Final = 0.1
"""Milliseconds of the first bucket."""
_GROWTH: Final = 1.1
_LOG_GROWTH: Final = math.log(_GROWTH)

Bucket = Annotated[int, Meta(ge=0, lt=BUCKETS)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


def added(some: int, others: int) -> int:
    """Both counts together; never more than what can be a count, whoever has reported them."""
    return min(some + others, 2**53)


def bucket_of(milliseconds: float) -> int:
    """Where a duration is counted."""
    if milliseconds <= _SHORTEST:
        return 0
    return min(math.ceil(math.log(milliseconds / _SHORTEST) / _LOG_GROWTH), BUCKETS - 1)


def within(buckets: Mapping[int, int], share: float) -> float:
    """In how many milliseconds this share of all was done: the middle of the bucket in which the last of them is.

    Raises:
        ValueError: Nothing was counted.
    """
    number = sum(buckets.values())
    if not number:
        raise ValueError("nothing was counted")
    wanted = max(1, math.ceil(share * number))
    reached = 0
    for bucket in sorted(buckets):
        reached += buckets[bucket]
        if reached >= wanted:
            break
    return _SHORTEST * math.pow(_GROWTH, bucket - 0.5)


class Durations(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As they are reported, merged and kept: how often something was in which bucket.

    >>> Durations(buckets={bucket_of(100.0): 9, bucket_of(3_000.0): 1}).within(0.9)
    100.2...
    """

    buckets: dict[Bucket, Count] = {}

    def __bool__(self) -> bool:
        return bool(self.buckets)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets.values())

    def within(self, share: float) -> float | None:
        """In how many milliseconds this share of them was done; ``None`` if there are none."""
        return within(self.buckets, share) if self.count else None

    def merged(self, other: Self) -> "Durations":
        """Both."""
        buckets = dict(self.buckets)
        for bucket, count in other.buckets.items():
            buckets[bucket] = added(buckets.get(bucket, 0), count)
        return Durations(buckets=buckets)


class Stopwatch:
    """Collects durations, from several threads and without a lock: each bucket is bumped as counters are."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self._counts[bucket_of(milliseconds)] += 1

    @property
    def durations(self) -> Durations:
        """All so far."""
        return Durations(buckets={bucket: count for bucket, count in enumerate(self._counts) if count})
