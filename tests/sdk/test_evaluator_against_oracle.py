"""The evaluator, held against the oracle with random flags, segments and contexts.

Where evaluation draws at random the oracle knows every outcome, and the evaluator's must be one of them. The runs are
the same each time; ``ORACLE_EXAMPLES=20`` makes them twenty times as many, and different each time.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.context import Context, EvaluationContext
from fader.explain import explain
from fader.model import Change, Constraint, Flag, Rollout, Rule, Segment, Snapshot
from fader.snapshot import FlagSet
from flag_strategies import (
    FLAG_KEYS,
    OPERATORS,
    SEGMENT_KEYS,
    SUITED_VALUES,
    World,
    constraints,
    contexts,
    examples,
    flags,
    segments,
    suited_to,
    worlds,
)
from long_lists import members_of
from oracle import Oracle, Outcome, holds, murmur3

ENVIRONMENT, APP = "free", "pro"


def flag_set_of(world: World) -> FlagSet:
    snapshot = Snapshot(
        project="default",
        environment=ENVIRONMENT,
        epoch="abcdef01",
        revision=7,
        flags=world.flags,
        segments=world.segments,
    )
    members = {name: members_of(keys, name=name) for name, keys in world.members.items()}
    return FlagSet(snapshot, app=APP, members=members)


def context_of(attributes: dict[str, Any]) -> EvaluationContext:
    others = {name: value for name, value in attributes.items() if name != "targeting_key"}
    return Context(attributes.get("targeting_key"), **others)


def assert_same_answers(world: World, asked: list[dict[str, Any]], flag_set: FlagSet | None = None) -> None:
    flag_set = flag_set_of(world) if flag_set is None else flag_set
    oracle = Oracle(world.flags, world.segments, members=world.members, environment=ENVIRONMENT, app=APP)
    for attributes in asked:
        context = context_of(attributes)
        for key in world.flags:
            expected = oracle.outcomes(key, attributes)
            details = flag_set.details(key, context, None)
            found = Outcome(details.variant, details.enabled, str(details.reason), details.rule)
            described = f"{key} for {attributes} of {msgspec.json.encode(flag_set.snapshot).decode()}"
            assert found in expected, described
            assert flag_set.enabled[key](context) in {outcome.enabled for outcome in expected}, described


def only_asking(constraint: Constraint) -> World:
    rule = Rule(id="only", constraints=(constraint,))
    return World({"checkout": Flag(key="checkout", enabled=True, rules=(rule,))}, {})


ODD_VALUES = (None, True, False, 7, -3, 2.0, 12.5, 1e21, 1e-7, float("nan"), float("inf"), [], ["a", 12, None], (True,))


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_answers_as_in_the_oracle_for_every_pair_of_values(operator: str) -> None:
    attribute, likely = suited_to(operator)
    asked = [{attribute: value} for value in (*SUITED_VALUES[attribute], *ODD_VALUES)]
    asked = [context for context in asked if attribute != "current_time" or context[attribute] is not None]
    for value in (*likely, True, 12, 2.5):
        for inverted in (False, True):
            for case_insensitive in (False, True):
                constraint = Constraint(
                    attribute=attribute,
                    operator=operator,
                    values=(value,),
                    inverted=inverted,
                    case_insensitive=case_insensitive,
                )
                assert_same_answers(only_asking(constraint), asked)


@examples(100)
@given(st.text(max_size=6), st.text(min_size=1, max_size=12))
def test_a_rollout_ends_at_the_bucket_at_which_it_ends_in_the_oracle(salt: str, identifier: str) -> None:
    hashed = murmur3(f"{salt or 'checkout'}:{identifier}".encode(), 0)
    edge = hashed % 100 * 1000 + hashed // 100 % 1000
    for share in {0, edge - 1, edge, edge + 1, 99_999, 100_000} & set(range(100_001)):
        rule = Rule(id="only", rollout=Rollout(percentage=share / 1000, salt=salt))
        flag = Flag(key="checkout", enabled=True, rules=(rule,))
        assert_same_answers(World({"checkout": flag}, {}), [{"targeting_key": identifier}])
        assert flag_set_of(World({"checkout": flag}, {})).enabled["checkout"](identifier) is (share > edge)


some_contexts = st.lists(contexts(), min_size=1, max_size=4)


@examples(150)
@given(constraints(), st.lists(contexts(), min_size=4, max_size=8))
def test_a_constraint_holds_for_those_for_whom_it_does_in_the_oracle(
    constraint: Constraint, asked: list[dict[str, Any]]
) -> None:
    assert_same_answers(only_asking(constraint), asked)


@examples(100)
@given(segments(SEGMENT_KEYS[0]), some_contexts)
def test_a_segment_has_the_members_that_it_has_in_the_oracle(segment: Segment, asked: list[dict[str, Any]]) -> None:
    flag = Flag(key="checkout", enabled=True, rules=(Rule(id="only", segments=(segment.key,)),))
    assert_same_answers(World({"checkout": flag}, {segment.key: segment}), asked)


@examples(120)
@given(flags(), some_contexts)
def test_a_flag_answers_as_in_the_oracle(flag: Flag, asked: list[dict[str, Any]]) -> None:
    assert_same_answers(World({flag.key: flag}, {}), asked)


@examples(120)
@given(worlds(), some_contexts)
def test_flags_that_refer_to_one_another_answer_as_in_the_oracle(world: World, asked: list[dict[str, Any]]) -> None:
    assert_same_answers(world, asked)


def different(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a change says that leads from one to the other: the new things, and None for those that are gone."""
    return {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}


@examples(60)
@given(worlds(), worlds(), st.sets(st.sampled_from((*FLAG_KEYS, *SEGMENT_KEYS))), some_contexts)
def test_flags_answer_as_in_the_oracle_after_a_change(
    before: World, other: World, untouched: set[str], asked: list[dict[str, Any]]
) -> None:
    def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        return {
            key: (old if key in untouched else new)[key]
            for key in old | new
            if key in (old if key in untouched else new)
        }

    after = World(changed(before.flags, other.flags), changed(before.segments, other.segments))
    flag_set = flag_set_of(before)
    assert_same_answers(before, asked, flag_set)  # compiles them all, so that stale ones would show
    change = Change(
        epoch="abcdef01",
        since=7,
        revision=8,
        flags=different(before.flags, after.flags),
        segments=different(before.segments, after.segments),
    )

    assert_same_answers(after, asked, flag_set.apply_change(change))
    assert_same_answers(before, asked, flag_set)


@examples(60)
@given(worlds(), some_contexts)
def test_an_explanation_tells_what_the_oracle_finds(world: World, asked: list[dict[str, Any]]) -> None:
    flag_set = flag_set_of(world)
    oracle = Oracle(world.flags, world.segments, members=world.members, environment=ENVIRONMENT, app=APP)
    for context in asked:
        attributes = oracle.attributes(context)
        for key, flag in world.flags.items():
            expected = oracle.outcomes(key, context)
            told = explain(flag_set, key, context_of(context))
            assert Outcome(told.variant, told.enabled, str(told.reason), told.rule) in expected
            assert [rule.id for rule in told.rules] == [rule.id for rule in flag.rules]
            if len(expected) == 1:
                deciding = [] if told.rule is None else [told.rule]
                assert [rule.id for rule in told.rules if rule.matched] == deciding
            for rule, told_rule in zip(flag.rules, told.rules, strict=True):
                for constraint, told_constraint in zip(rule.constraints, told_rule.constraints, strict=False):
                    assert told_constraint.held is holds(constraint, attributes), constraint
                for segment in told_rule.segments:
                    assert segment.held is oracle.is_member(segment.segment, attributes)
