"""Where an id falls: the bucket of a rollout and the place in a split.

Both are MurmurHash3 (x86, 32 bits, by Austin Appleby) of ``"{salt}:{id}"`` in UTF-8. At whole percentages the
answers are Unleash's, for every id, so one service can take over from the other under live traffic; see
``bucket``.
"""

from typing import Final

# Of bytes, and never `mmh3.hash` of a text. Where a text has no UTF-8, that reads a null pointer (mmh3 5.3.1): half a
# surrogate pair, as `json.loads` makes of "\ud800", would end the process, and anybody can send one as a user id.
from mmh3 import mmh3_32_uintdigest as murmur3

__all__ = ["BUCKETS", "ROLLOUT_SEED", "SPLIT_SEED", "bucket", "murmur3", "split_place", "thousandths"]

BUCKETS: Final = 100_000
"""Thousandths of a percent in a whole."""

ROLLOUT_SEED: Final = 0
SPLIT_SEED: Final = 86_028_157
"""A second, independent hash: shares of a split drawn by the rollout's own would all lie at one end of it."""


def thousandths(percentage: float) -> int:
    """A percentage as an integer of thousandths of a percent, 0 to 100,000: the only place where this is done.

    ``int(p * 1000)`` in floating point would be wrong for 741 of the 100,001 values, 1.001 among them.

    >>> thousandths(1.001)
    1001
    """
    return round(percentage * 1000)


def bucket(salt: str, identity: str) -> int:
    """Which of the 100,000 buckets an id falls into. It is in a rollout of ``p`` thousandths when ``bucket < p``.

    The whole percent is ``h % 100`` and not the top of the range, because that is what Unleash compares with.
    The thousandths within it come from the digits above, so the bucket only depends on ``h % 100,000`` and
    permutes it: 2³² is no multiple of 100,000, which favours some buckets by 2.3 · 10⁻⁵ of their size. That
    bias must not be "fixed": every user would change sides.

    Raises:
        UnicodeEncodeError: if the id has no UTF-8.

    >>> bucket("s", "49491")
    999
    """
    hashed = murmur3(f"{salt}:{identity}".encode(), ROLLOUT_SEED)
    return hashed % 100 * 1000 + hashed // 100 % 1000


def split_place(salt: str, identity: str, weights: int) -> int:
    """The place of an id in a split, 1 to ``weights`` (the sum of all weights).

    It belongs to the first variant at which the running sum of weights reaches the place.

    Raises:
        UnicodeEncodeError: if the id has no UTF-8.
    """
    return murmur3(f"{salt}:{identity}".encode(), SPLIT_SEED) % weights + 1
