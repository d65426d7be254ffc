"""How long to wait before trying again: values in, seconds out, no clock and no I/O.

The jitter is what keeps ten thousand SDKs that lost the same server from coming back in the same millisecond
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

import math
import random
from email.utils import parsedate_to_datetime

_STEEPEST = 16  # beyond this the ceiling has long been reached, and 2.0**n stays finite


class Backoff:
    """Exponential back-off with full jitter: the n-th pause is drawn from 0 … ``first`` · 2ⁿ, at most ``longest``.

    No pause is shorter than a tenth of its ceiling, so that an unlucky draw never makes a tight loop.

    Args:
        first: Ceiling of the first pause, in seconds.
        longest: Ceiling that no pause exceeds, in seconds.
        rng: Source of the jitter.

    >>> pauses = Backoff(first=1.0, longest=30.0)
    >>> all(0.1 <= pauses.next() <= 30.0 for _ in range(20))
    True
    """

    def __init__(self, first: float, longest: float, rng: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._rng = rng or random.Random()
        self._failures = 0

    def next(self) -> float:
        """The pause after one more failure, in seconds."""
        ceiling: float = min(self._longest, self._first * 2.0 ** min(self._failures, _STEEPEST))
        self._failures += 1
        return self._rng.uniform(ceiling / 10, ceiling)

    def reset(self) -> None:
        """Forget all failures: the connection has proved healthy."""
        self._failures = 0


def spread(seconds: float, rng: random.Random) -> float:
    """A pause of at least ``seconds`` and at most twice that: for clients that were all told the same number."""
    return seconds + rng.uniform(0.0, seconds)


def half_jitter(seconds: float, rng: random.Random) -> float:
    """A pause between half of ``seconds`` and all of it."""
    return rng.uniform(seconds / 2, seconds)


def retry_after(header: str | None, now: float, longest: float) -> float | None:
    """What a ``Retry-After`` header asks for (RFC 9110, 10.2.3), in seconds from ``now``.

    Args:
        header: The header's value: a number of seconds or an HTTP date.
        now: The present time, in seconds since 1970.
        longest: What the answer is capped at, so that a wrong clock cannot silence an SDK for days.

    Returns:
        Seconds from 0 to ``longest``, or ``None`` where the header is absent or makes no sense.
    """
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text) if text.isascii() and text.isdigit() else parsedate_to_datetime(text).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else None
