"""The evaluator, held against the oracle with random flags, segments and contexts.

Where evaluation draws at random the oracle knows every outcome, and the evaluator's must be one of them. The runs are
the same each time; ``FADER_EXAMPLES=20`` makes them twenty times as many, and different each time.
"""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fader.context import Context
from fader.model import Constraint, Flag, Rule, Segment, Snapshot
from fader.snapshot import FlagSet
from flag_strategies import SEGMENT_KEYS, World, constraints, contexts, flags, segments, worlds
from oracle import Oracle, Outcome

ENVIRONMENT, APP = "free", "pro"
TIMES_AS_MANY = int(os.environ.get("FADER_EXAMPLES", "1"))


def examples(count: int) -> settings:
    return settings(
        max_examples=count * TIMES_AS_MANY,
        derandomize=TIMES_AS_MANY == 1,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def assert_same_answers(world: World, asked: list[dict[str, Any]]) -> None:
    snapshot = Snapshot(
        project="default",
        environment=ENVIRONMENT,
        epoch="abcdef01",
        revision=7,
        flags=world.flags,
        segments=world.segments,
    )
    flag_set = FlagSet(snapshot, app=APP)
    oracle = Oracle(world.flags, world.segments, environment=ENVIRONMENT, app=APP)
    for attributes in asked:
        context = Context(
            attributes.get("targeting_key"),
            **{name: value for name, value in attributes.items() if name != "targeting_key"},
        )
        for key in world.flags:
            expected = oracle.outcomes(key, attributes)
            details = flag_set.details(key, context, None)
            found = Outcome(details.variant, details.enabled, str(details.reason), details.rule)
            assert found in expected, (key, attributes)
            assert flag_set.enabled[key](context) in {outcome.enabled for outcome in expected}


asked = st.lists(contexts(), min_size=1, max_size=4)


@examples(400)
@given(constraints(), st.lists(contexts(), min_size=4, max_size=8))
def test_a_constraint_holds_for_those_for_whom_it_does_in_the_oracle(
    constraint: Constraint, asked: list[dict[str, Any]]
) -> None:
    flag = Flag(key="checkout", enabled=True, rules=(Rule(id="only", constraints=(constraint,)),))
    assert_same_answers(World({"checkout": flag}, {}), asked)


@examples(100)
@given(segments(SEGMENT_KEYS[0]), asked)
def test_a_segment_has_the_members_that_it_has_in_the_oracle(segment: Segment, asked: list[dict[str, Any]]) -> None:
    flag = Flag(key="checkout", enabled=True, rules=(Rule(id="only", segments=(segment.key,)),))
    assert_same_answers(World({"checkout": flag}, {segment.key: segment}), asked)


@examples(200)
@given(flags(), asked)
def test_a_flag_answers_as_in_the_oracle(flag: Flag, asked: list[dict[str, Any]]) -> None:
    assert_same_answers(World({flag.key: flag}, {}), asked)


@examples(200)
@given(worlds(), asked)
def test_flags_that_refer_to_one_another_answer_as_in_the_oracle(world: World, asked: list[dict[str, Any]]) -> None:
    assert_same_answers(world, asked)
