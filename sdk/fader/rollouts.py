"""Rollouts as conditions, and splits: who is let in, and which variant they get."""

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import TypeAlias, TypeVar

from fader.bucketing import BUCKETS, ROLLOUT_SEED, murmur3, split_place, thousandths
from fader.constraints import Condition, Surroundings, identity, never
from fader.context import Attributes, hashable_text
from fader.model import BY_DEFAULT, BY_RANDOM, SESSION_ID, Rollout, Split

T = TypeVar("T")
Identify: TypeAlias = Callable[[str, Attributes], str | None]


def default_identity(key: str, attributes: Attributes) -> str | None:
    """What ``by: default`` hashes: the targeting key, else ``session_id``, else nothing (and a draw decides)."""
    if key:
        return key
    return hashable_text(attributes.get(SESSION_ID)) or None


class HashCondition:
    """A share of all contexts, chosen by hash.

    ``bucket() < share``, without building the bucket: the whole percent settles all but one in a hundred.

    Args:
        identify: What to hash.
        share: In thousandths of a percent.
        salt: Goes before it, with a colon between.
        without: For contexts that have nothing to hash.
    """

    __slots__ = ("identify", "percent", "prefix", "rest", "without")

    def __init__(self, identify: Identify, share: int, salt: str, without: Condition) -> None:
        self.identify = identify
        self.prefix = f"{salt}:"
        self.percent, self.rest = divmod(share, 1000)
        self.without = without

    def __call__(self, key: str, attributes: Attributes) -> bool:
        """Whether the context is let in."""
        identified = self.identify(key, attributes)
        if identified is None:
            return self.without(key, attributes)
        hashed = murmur3((self.prefix + identified).encode(), ROLLOUT_SEED)
        percent = hashed % 100
        return percent < self.percent or (percent == self.percent and hashed // 100 % 1000 < self.rest)


def compile_rollout(rollout: Rollout, flag: str, surroundings: Surroundings) -> Condition | None:
    """A rollout as a condition; ``None`` where it lets everybody in.

    Args:
        rollout: Which share.
        flag: The flag's key, which salts the hash unless the rollout has a salt of its own.
        surroundings: What well-known attributes fall back to.
    """
    share = thousandths(rollout.percentage)
    if share <= 0:
        return never
    salt = rollout.salt or flag
    if rollout.by not in (BY_DEFAULT, BY_RANDOM):
        return HashCondition(identity(rollout.by, surroundings), share, salt, never)
    if share >= BUCKETS:
        return None

    def draw(_key: str, _attributes: Attributes) -> bool:
        return random.random() * BUCKETS < share

    return draw if rollout.by == BY_RANDOM else HashCondition(default_identity, share, salt, draw)


def compile_split(
    split: Split, flag: str, surroundings: Surroundings, outcomes: Mapping[str, T]
) -> Callable[[str, Attributes], T]:
    """A split as a function that chooses an outcome.

    Args:
        split: The weighted variants, of which one at least has a weight.
        flag: The flag's key, which salts the hash unless the split has a salt of its own.
        surroundings: What well-known attributes fall back to.
        outcomes: What each variant comes to, by name.
    """
    identify = identity_by(split.by, surroundings)
    served = [outcomes[weighted.variant] for weighted in split.variants]
    reach = list(accumulate(max(weighted.weight, 0) for weighted in split.variants))
    total = reach[-1]
    salt = split.salt or flag

    def choose(key: str, attributes: Attributes) -> T:
        identified = identify(key, attributes)
        place = random.randint(1, total) if identified is None else split_place(salt, identified, total)
        return served[bisect_left(reach, place)]

    return choose


def identity_by(by: str, surroundings: Surroundings) -> Identify:
    """What a rollout or a split hashes.

    Args:
        by: As rollouts and splits have it.
        surroundings: What well-known attributes fall back to.
    """
    if by == BY_RANDOM:
        return lambda _key, _attributes: None
    return default_identity if by == BY_DEFAULT else identity(by, surroundings)
