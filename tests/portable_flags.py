"""Random flags for Hypothesis whose attributes have natural types, as applications pass them, and contexts."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from fader.model import Constraint, Flag, Rollout, Rule, Segment, Snapshot, Split, Variant, WeightedVariant
from fader_server.storage.records import Definition
from flagd_documents import VERSIONS

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PLANS = ("pro", "free", "trial", "7")


def _constraints(kind: tuple[str, tuple[str, ...], st.SearchStrategy[Any], int]) -> st.SearchStrategy[Constraint]:
    attribute, operators, values, most = kind
    return st.builds(
        lambda operator, found, inverted: Constraint(
            attribute=attribute, operator=operator, values=tuple(found), inverted=inverted
        ),
        st.sampled_from(operators),
        st.lists(values, min_size=1, max_size=most, unique=True),
        st.booleans(),
    )


_KINDS: tuple[tuple[str, tuple[str, ...], st.SearchStrategy[Any], int], ...] = (
    ("plan", ("in", "not_in", "starts_with", "ends_with", "contains"), st.sampled_from((*PLANS, "p", "e")), 3),
    ("targeting_key", ("in", "not_in"), st.sampled_from(("ada", "bob", "eve")), 2),
    ("age", ("=",), st.sampled_from((0, 7, 18, 2.5)), 2),
    ("age", ("<", "<=", ">", ">="), st.sampled_from((-1, 0, 7, 18, 2.5)), 1),
    ("version", ("semver_eq",), st.sampled_from(VERSIONS), 2),
    ("version", ("semver_gt", "semver_ge", "semver_lt", "semver_le"), st.sampled_from(VERSIONS), 1),
    ("beta", ("in",), st.sampled_from((True, "false")), 2),
    ("current_time", ("before", "after"), st.sampled_from(("2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z")), 1),
)
constraints = st.one_of(
    *(_constraints(kind) for kind in _KINDS),
    st.builds(
        lambda name, inverted: Constraint(attribute=name, operator="exists", inverted=inverted),
        st.sampled_from(("plan", "age")),
        st.booleans(),
    ),
)
_rollouts = st.one_of(
    st.just(Rollout()), st.builds(Rollout, percentage=st.sampled_from((0.0, 50.0, 100.0)), by=st.just("plan"))
)


@st.composite
def flags(draw: st.DrawFn, *, draws: bool = True) -> Flag:
    """A flag. Unless it may draw, it lets in all or nobody, and shares nothing out."""
    is_boolean = draw(st.booleans())
    variants = (
        ()
        if is_boolean
        else (Variant(name="red", value="#f00"), Variant(name="blue", value="#00f"), Variant(name="off"))
    )
    names = ("on", "off") if is_boolean else ("red", "blue", "off")
    splits = st.builds(
        lambda found, weights: Split(
            variants=tuple(
                WeightedVariant(variant=name, weight=weight) for name, weight in zip(found, weights, strict=False)
            )
        ),
        st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True).map(sorted)
        | st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True),
        st.sampled_from([(300, 700), (300, 700), (1, 3)]),
    )
    rules = []
    for number in range(draw(st.integers(0, 3))):
        split = draw(splits) if draws and draw(st.booleans()) else None
        rollout = draw(_rollouts)
        rules.append(
            Rule(
                id=f"rule-{number}",
                description=draw(st.sampled_from(("", "For a few"))),
                constraints=tuple(draw(st.lists(constraints, max_size=2))),
                segments=tuple(draw(st.lists(st.sampled_from(("listed", "described")), max_size=1))),
                rollout=rollout if draws or rollout.percentage != 50.0 else Rollout(by="plan"),
                variant=None if split is not None else draw(st.sampled_from(names)),
                split=split,
            )
        )
    return Flag(
        key="flag",
        enabled=draw(st.sampled_from((True, True, True, False))),
        type="boolean" if is_boolean else "string",
        variants=variants,
        off_variant="off",
        rules=tuple(rules),
    )


@st.composite
def snapshots(draw: st.DrawFn, *, draws: bool = True) -> Snapshot:
    """An environment with a flag, and two segments."""
    described = draw(st.lists(constraints, min_size=1, max_size=2))
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=7,
        flags={"flag": draw(flags(draws=draws))},
        segments={
            "listed": Segment(key="listed", id=1, targeting_keys=("ada", "bob")),
            "described": Segment(key="described", id=2, constraints=tuple(described)),
        },
    )


contexts = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(PLANS),
        "age": st.sampled_from((0, 7, 18, 17.5, -3)),
        "version": st.sampled_from(VERSIONS),
        "targetingKey": st.sampled_from(("ada", "bob", "eve", "joe")),
        "beta": st.booleans(),
    },
)


def definitions(snapshot: Snapshot) -> dict[str, Definition]:
    """What people see of the flags."""
    return {
        key: Definition(
            project=snapshot.project,
            key=key,
            description="What it is for",
            tags=("team:shop", "old"),
            kind="ops",
            type=flag.type,
            variants=flag.variants,
            off_variant=flag.off_variant,
            created_at=NOW,
            updated_at=NOW + timedelta(days=1),
        )
        for key, flag in snapshot.flags.items()
    }
