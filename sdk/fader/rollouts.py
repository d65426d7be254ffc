"""Rollouts and splits as steps: who is let in, and which variant they get."""

import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias, TypeVar

from mmh3 import hash as murmur3

from fader.bucketing import BUCKETS, ROLLOUT_SEED, split_place, thousandths
from fader.constraints import Step, Surroundings, identity, no
from fader.context import Attributes, canonical_text
from fader.model import BY_DEFAULT, BY_RANDOM, SESSION_ID, Rollout, Split

T = TypeVar("T")
Identify: TypeAlias = Callable[[str, Attributes], str | None]


def default_identity(key: str, attributes: Attributes) -> str | None:
    """What ``by: default`` hashes: the targeting key, else ``session_id``, else nothing (and a draw decides).
    What ``by: default`` hashes: the targeting key, else ``session_id``, else nothing (and a draw decides)."""
    if key:
        return key
    session = attributes.get(SESSION_ID)
    return None if session is None else canonical_text(session) or None


def letting_in(
    rollout: Rollout, flag: str, surroundings: Surroundings, served: T, then: Step[T] | None = None
) -> Step[T]:
    """A rollout as a step.

    Args:
        rollout: Which share is let in.
        flag: The flag's key, which salts the hash unless the rollout has a salt of its own.
        surroundings: What well-known attributes fall back to.
        served: What they get.
        then: A step that decides what they get, in place of ``served``.
    """
    share = thousandths(rollout.percentage)
    if share <= 0:
        return no
    drawn = _by_lot(share, served, then)
    if rollout.by == BY_RANDOM:
        return drawn
    salt = rollout.salt or flag
    if rollout.by != BY_DEFAULT:
        return _by_hash(identity(rollout.by, surroundings), share, salt, no, served, then)
    return drawn if share >= BUCKETS else _by_hash(default_identity, share, salt, drawn, served, then)


def _by_lot(share: int, served: T, then: Step[T] | None) -> Step[T]:
    if share >= BUCKETS:
        return then or (lambda _key, _attributes: served)

    def step(key: str, attributes: Attributes) -> T | None:
        if random.random() * BUCKETS < share:
            return served if then is None else then(key, attributes)
        return None

    return step


def _by_hash(identify: Identify, share: int, salt: str, without: Step[T], served: T, then: Step[T] | None) -> Step[T]:
    """``without`` is for contexts that have nothing to hash."""
    prefix = f"{salt}:"
    # bucket() < share, without building the bucket: the whole percent settles all but one in a hundred.
    percent, rest = divmod(share, 1000)
    by_key = identify is default_identity

    def step(key: str, attributes: Attributes) -> T | None:
        identity = key if by_key and key else identify(key, attributes)
        if identity is None:
            return without(key, attributes)
        hashed = murmur3(prefix + identity, ROLLOUT_SEED, False)
        place = hashed % 100
        if place < percent or (place == percent and hashed // 100 % 1000 < rest):
            return served if then is None else then(key, attributes)
        return None

    return step


def sharing_out(
    split: Split, flag: str, surroundings: Surroundings, outcomes: Mapping[str, T]
) -> Callable[[str, Attributes], T | None]:
    """A split as a step.

    Args:
        split: The weighted variants.
        flag: The flag's key, which salts the hash unless the split has a salt of its own.
        surroundings: What well-known attributes fall back to.
        outcomes: What each variant comes to, by name.

    Returns:
        A step that never says no, but for splits that make no sense: these let nobody in.
    """
    weights = [max(weighted.weight, 0) for weighted in split.variants]
    total = sum(weights)
    if total == 0 or any(weighted.variant not in outcomes for weighted in split.variants):
        return no
    identify = _identity_of(split, surroundings)
    served: Sequence[T] = [outcomes[weighted.variant] for weighted in split.variants]
    reach = list(accumulate(weights))
    salt = split.salt or flag

    def step(key: str, attributes: Attributes) -> T:
        identity = identify(key, attributes)
        place = random.randint(1, total) if identity is None else split_place(salt, identity, total)
        return served[bisect_left(reach, place)]

    return step


def _identity_of(split: Split, surroundings: Surroundings) -> Identify:
    if split.by == BY_RANDOM:
        return lambda _key, _attributes: None
    return default_identity if split.by == BY_DEFAULT else identity(split.by, surroundings)
