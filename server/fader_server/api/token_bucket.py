"""A token bucket: how much may pass now, and how long until more may. Values in, values out; it has no clock.

https://en.wikipedia.org/wiki/Token_bucket
"""

from typing import Final

_ROUNDING: Final = 1e-6
"""Tokens that may be missing: after the wait that was asked for, a sum of floats may fall short by so little."""


class TokenBucket:
    """Fills at a steady rate, up to its capacity. It begins full.

    Args:
        rate: Tokens that come in each second.
        capacity: Tokens that it holds.
        now: The present time, in seconds of some clock that does not go back.

    >>> bucket = TokenBucket(rate=2.0, capacity=1.0, now=0.0)
    >>> bucket.take(1.0, now=0.0), bucket.take(1.0, now=0.0), bucket.wait(1.0, now=0.0)
    (True, False, 0.5)
    """

    __slots__ = ("_at", "_capacity", "_level", "_rate")

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        self._rate = rate
        self._capacity = self._level = capacity
        self._at = now

    def take(self, tokens: float, now: float) -> bool:
        """Take tokens, if there are enough.

        More than the bucket holds can be had from a full one, which then owes the rest: a demand is never refused for
        ever because it is large.
        """
        if self.level(now) + _ROUNDING < min(tokens, self._capacity):
            return False
        self._level -= tokens
        return True

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until so many could be taken, if nobody else took any."""
        return max(min(tokens, self._capacity) - self.level(now), 0.0) / self._rate

    def level(self, now: float) -> float:
        """Tokens that are there; less than none while some are owed."""
        if now > self._at:
            self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level
