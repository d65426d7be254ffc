"""Lets in at a bounded rate, and tells those who must wait when to come back: each another time.

Whoever gets the same ``Retry-After`` comes back in the same moment, and the storm repeats itself. So each of those who
are refused is promised a place of its own in the seconds to come. Values in, values out; it has no clock.
"""

import math
from typing import Final

from fader_server.api.token_bucket import TokenBucket

_PROMISES: Final = 1 / math.log(2)
"""Promises for each place that there is. SDKs add jitter, between nothing and as much again: of those who were told to
come at t or before, a moment t sees the share ∫ dw/w from t/2 to t, which is ln 2."""


class Turnstile:
    """A token bucket, and the promises made to those who found it empty.

    Args:
        rate: Tokens for each second.
        capacity: Tokens that may be used at once after a quiet time.
        longest: Seconds that nobody is sent away for longer than; with more to promise, places are promised twice.
        now: The present time, in seconds of some clock that does not go back.
    """

    __slots__ = ("_bucket", "_longest", "_promised", "_rate")

    def __init__(self, rate: float, capacity: float, longest: float, now: float) -> None:
        self._bucket = TokenBucket(rate, capacity, now)
        self._rate = rate
        self._longest = longest
        self._promised = now

    def enter(self, tokens: float, now: float) -> float:
        """Come in.

        Args:
            tokens: What it costs.
            now: The present time.

        Returns:
            0 for who is let in, else the seconds after which to come again.
        """
        if self._bucket.take(tokens, now):
            return 0.0
        earliest = now + self._bucket.wait(tokens, now)
        place = max(self._promised, earliest)
        if place - now > self._longest:
            place = min(earliest, now + self._longest)
        self._promised = place + tokens / (self._rate * _PROMISES)
        return place - now

    def lets_in(self, tokens: float, now: float) -> bool:
        """The same for who need not be told when to come again."""
        return self._bucket.take(tokens, now)

    def level(self, now: float) -> float:
        """Tokens that are left."""
        return max(self._bucket.level(now), 0.0)
