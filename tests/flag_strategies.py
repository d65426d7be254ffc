"""Random flags, segments and contexts for Hypothesis, small enough that they meet.

Values come from pools in which the interesting ones lie side by side (numbers that are text, versions, times,
networks, letters whose case is special), so that rules match often but not always. Now and then anything goes.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fader.model import (
    Constraint,
    Flag,
    Prerequisite,
    Rollout,
    Rule,
    Segment,
    Split,
    Variant,
    WeightedVariant,
)
from long_lists import described

FLAG_KEYS = ("checkout", "search", "banner", "wrld-ø你")
SEGMENT_KEYS = ("staff", "berlin", "testers")

# fmt: off
OTHER_ATTRIBUTES = (
    "targeting_key", "session_id", "remote_address", "app", "environment", "plan",
    "version", "age",
)
WORDS = (
    "a", "A", "ab", "aB", "b", "free", "pro", "PRO", "é", "İ", "i̇", "straße", "STRASSE", "你好", "😊",
    "a\nb", "",
)
NUMBERS = (
    "0", "-0", "1", "1.0", "12", "12.5", "-3", "1e2", ".5", "5.", "+5", " 5 ", "0x5", "1_000", "٣",
    "NaN",
)
VERSIONS = (
    "1.2.3", "1.2.4", "1.10.0", "2.0.0-alpha", "2.0.0-alpha.1", "2.0.0-alpha.2", "2.0.0-alpha.10",
    "2.0.0-1", "2.0.0-rc.1", "2.0.0", "2.0.0+build.7", "v2.0.0", "2.0", "02.0.0", "2.0.0-01", "2.0.0-",
    "2.0.0+", " 2.0.0",
)
TIMES = (
    "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "2026-03-01T13:00:00+01:00",
    "2026-03-01T12:00:00.5Z", "2026-03-01T14:00:00-05:30", "2026-03-01", "2026-03-01T12:00:00",
    "2026-13-01T00:00:00Z", "20260301T120000Z", "1970-01-01T00:00:00Z", "2199-01-01T00:00:00Z",
)
NETWORKS = (
    "10.1.2.3", "10.0.0.0/8", "10.0.0.1/8", "10.1.2.3/32", "0.0.0.0/0", "10.0.0.0/33", "010.0.0.1",
    "127.0.0.1", "2001:db8::1", "2001:DB8:0::1", "2001:db8::/32", "::/0", "::ffff:10.1.2.3", "nonsense",
    " 10.1.2.3",
)
# fmt: on
PATTERNS = ("^a", "b$", "^$", "", "[[:alpha:]]+", "(?i)PRO", r"\d{2}", "é", "(a", r"(a)\1", "(?=a)")
TEXTS = WORDS + NUMBERS + VERSIONS + TIMES + NETWORKS

MANY_VALUES = ("in", "not_in")
SOME_VALUES = ("=", "semver_eq", "in_cidr", "matches", "starts_with", "ends_with", "contains")
ONE_VALUE = ("<", "<=", ">", ">=", "before", "after", "semver_gt", "semver_lt", "semver_ge", "semver_le")
NOT_AN_OPERATOR = "newer_than_this_sdk"
OPERATORS = (*MANY_VALUES, *SOME_VALUES, *ONE_VALUE, "exists", NOT_AN_OPERATOR)

numbers = st.integers(-5, 15) | st.sampled_from((0.5, 12.0, 12.5, -3.0, 1e2, 0.1)) | st.floats(-1e9, 1e9)
scalars = st.sampled_from(TEXTS) | st.booleans() | numbers | st.text(max_size=4)
identifiers = st.sampled_from(("user-1", "user-2", "", "é", "😊", "42")) | st.integers(0, 10_000).map("user-{}".format)
moments = st.just(datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))) | st.integers(0, 10**6).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)

_TIMES_AS_MANY = int(os.environ.get("ORACLE_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """So many random examples, the same each time; or as many times more as ``ORACLE_EXAMPLES`` says, and other ones
    each time."""
    return settings(
        max_examples=count * _TIMES_AS_MANY,
        derandomize=_TIMES_AS_MANY == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class World:
    """Everything that one evaluation can see."""

    flags: dict[str, Flag]
    segments: dict[str, Segment]
    members: dict[str, frozenset[str]] = field(default_factory=dict)
    """Keys of the long lists that segments name, by the lists' names. Lists that are not here have not come yet."""


def suited_to(operator: str) -> tuple[str, tuple[str, ...]]:
    """An attribute that an operator is likely to be asked about, and values that it is likely to be given."""
    if operator in ("=", "<", "<=", ">", ">="):
        return "age", NUMBERS
    if operator in ("before", "after"):
        return "current_time", TIMES
    if operator.startswith("semver"):
        return "version", VERSIONS
    if operator == "in_cidr":
        return "remote_address", NETWORKS
    return "plan", PATTERNS if operator == "matches" else WORDS


@st.composite
def constraints(draw: st.DrawFn) -> Constraint:
    """A constraint of any operator; most attributes and values suit it, some do not.

    Only operators on times are asked about ``current_time``: where it is missing it is now, and what its text
    contains would change with the clock.
    """
    operator = draw(st.sampled_from(OPERATORS))
    attribute, likely = suited_to(operator)
    fewest = 0 if operator in MANY_VALUES else 1
    most = 1 if operator in ONE_VALUE else 3
    value = st.sampled_from(likely) | st.sampled_from(likely) | scalars
    values = () if operator == "exists" else tuple(draw(st.lists(value, min_size=fewest, max_size=most)))
    return Constraint(
        attribute=draw(st.just(attribute) | st.sampled_from(OTHER_ATTRIBUTES)),
        operator=operator,
        values=values,
        inverted=draw(st.booleans()),
        case_insensitive=draw(st.booleans()),
    )


bys = st.sampled_from(("default", "default", "random", "targeting_key", "session_id", "plan", "age"))
salts = st.sampled_from(("", "", "shared", "sälz"))
thousandths = st.sampled_from((0, 1, 1_000, 12_500, 33_333, 50_000, 99_999, 100_000)) | st.integers(0, 100_000)
rollouts = st.builds(Rollout, percentage=thousandths.map(lambda share: share / 1000), by=bys, salt=salts)


def splits(names: tuple[str, ...]) -> st.SearchStrategy[Split]:
    """Weights for some of the names, perhaps twice for one, and perhaps without any weight at all."""
    weighted = st.builds(WeightedVariant, variant=st.sampled_from(names), weight=st.integers(0, 5))
    return st.builds(Split, variants=st.lists(weighted, min_size=1, max_size=4).map(tuple), by=bys, salt=salts)


@st.composite
def rules(draw: st.DrawFn, names: tuple[str, ...], identifier: str) -> Rule:
    """A rule that serves variants of the given names, the off variant perhaps among them."""
    variant, split = draw(
        st.just((None, None)) | st.tuples(st.sampled_from(names), st.none()) | st.tuples(st.none(), splits(names))
    )
    return Rule(
        id=identifier,
        constraints=tuple(draw(st.lists(constraints(), max_size=2))),
        segments=draw(st.sampled_from(((), (), (), *((key,) for key in SEGMENT_KEYS), ("unknown",)))),
        rollout=draw(st.just(Rollout()) | rollouts),
        variant=variant,
        split=split,
    )


prerequisites = st.builds(
    Prerequisite,
    flag=st.sampled_from((*FLAG_KEYS, "unknown")),
    enabled=st.sampled_from((True, True, False)),
    variants=st.sampled_from(((), (), (), ("on",), ("red", "blue"), ("none", "off"))),
)
"""Prerequisites on any flag, so that chains, cycles and unknown parents all come up."""

VARIANTS = tuple(Variant(name=name, value=f"value of {name}") for name in ("red", "blue", "none"))


@st.composite
def flags(draw: st.DrawFn, key: str = "checkout", most_prerequisites: int = 0) -> Flag:
    """A flag, boolean or with variants of its own."""
    variants = draw(st.sampled_from(((), (), VARIANTS, VARIANTS[:2], VARIANTS[::-1])))
    names = tuple(variant.name for variant in variants) or ("on", "off")
    asked = draw(st.sampled_from((0, 0, 0, 1, 2))) if most_prerequisites else 0
    return Flag(
        key=key,
        enabled=draw(st.sampled_from((True,) * 9 + (False,))),
        type="string" if variants else "boolean",
        variants=variants,
        off_variant=draw(st.sampled_from(names)) if variants else "off",
        prerequisites=tuple(draw(prerequisites) for _ in range(min(asked, most_prerequisites))),
        rules=tuple(draw(rules(names, f"rule-{number}")) for number in range(draw(st.integers(0, 3)))),
    )


def segments(key: str) -> st.SearchStrategy[Segment]:
    """Segments by constraints, by listed keys, by both or by neither."""
    return st.builds(
        Segment,
        key=st.just(key),
        constraints=st.lists(constraints(), max_size=2).map(tuple),
        targeting_keys=st.sampled_from(((), ("user-1",), ("user-2", "é"), ("",))),
    )


LISTED = ("user-1", "user-2", "é", "😊", "user-4711")


@st.composite
def long_lists(draw: st.DrawFn, segments: dict[str, Segment]) -> tuple[dict[str, Segment], dict[str, frozenset[str]]]:
    """Some of these segments name long lists beside what they have; not all of these have come."""
    made, members = dict(segments), dict[str, frozenset[str]]()
    for number, (key, segment) in enumerate(segments.items()):
        if draw(st.sampled_from((True, False, False))):
            keys = draw(st.frozensets(st.sampled_from(LISTED)))
            made[key] = replace(segment, members=described(keys, name=f"list{number}"))
            if draw(st.sampled_from((True, True, True, False))):
                members[f"list{number}"] = keys
    return made, members


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Some flags and segments that refer to one another."""
    keys = FLAG_KEYS[: draw(st.integers(1, len(FLAG_KEYS)))]
    known = SEGMENT_KEYS[: draw(st.integers(0, len(SEGMENT_KEYS)))]
    made, members = draw(long_lists({key: draw(segments(key)) for key in known}))
    return World({key: draw(flags(key, most_prerequisites=2)) for key in keys}, made, members)


attribute_values = st.none() | scalars | moments | st.lists(scalars, max_size=3)
SUITED_VALUES = {
    "remote_address": NETWORKS,
    "current_time": TIMES,
    "version": VERSIONS,
    "age": NUMBERS,
    "plan": WORDS,
    "app": WORDS,
    "environment": WORDS,
}
"""Values that a context is likely to have, by attribute."""


@st.composite
def contexts(draw: st.DrawFn) -> dict[str, Any]:
    """The attributes of a context, with its targeting key, if any, under ``targeting_key``."""
    context: dict[str, Any] = {}
    if draw(st.sampled_from((True, True, True, False))):
        context["targeting_key"] = draw(identifiers)
    for name in draw(st.lists(st.sampled_from(("session_id", *SUITED_VALUES)), unique=True)):
        likely = st.sampled_from(SUITED_VALUES[name]) if name in SUITED_VALUES else identifiers
        context[name] = draw(likely | likely | attribute_values)
    return context
