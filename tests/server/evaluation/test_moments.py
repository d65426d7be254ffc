"""When answers may become others by themselves."""

from datetime import UTC, datetime, timedelta

import pytest

from fader.model import Constraint, Flag, Rollout, Rule, Segment, Snapshot, Split, WeightedVariant
from fader_server.evaluation.moments import Moments

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def asking(operator: str, *values: str) -> Constraint:
    return Constraint(attribute="current_time", operator=operator, values=values)


def moments(*rules: Rule, enabled: bool = True, segments: tuple[Segment, ...] = ()) -> Moments:
    flag = Flag(key="a", enabled=enabled, rules=rules)
    by_key = {segment.key: segment for segment in segments}
    return Moments.of(Snapshot(project="p", environment="e", epoch="x", revision=1, flags={"a": flag}, segments=by_key))


def test_without_rules_about_time_nothing_happens_by_itself() -> None:
    quiet = moments(Rule(constraints=(Constraint(attribute="country", operator="in", values=("DE",)),)))
    assert quiet.passed(NOON) == quiet.passed(NOON + timedelta(days=1_000)) == 0


@pytest.mark.parametrize("operator", ["before", "after"])
def test_each_time_that_a_rule_names_makes_a_difference_and_nothing_else_does(operator: str) -> None:
    named = moments(
        Rule(constraints=(asking(operator, "2026-06-01T12:00:00Z"),)),
        Rule(constraints=(asking(operator, "2026-06-02T14:00:00+02:00"),)),
    )
    day = timedelta(days=1)
    seen = [
        named.passed(time) for time in (NOON - day, NOON - TICK, NOON, NOON + TICK, NOON + day - TICK, NOON + 2 * day)
    ]
    assert seen[0] == seen[1]
    assert seen[3] == seen[4]
    assert len(set(seen)) == 4


def test_segments_count_and_flags_that_are_off_do_not() -> None:
    rule = Rule(constraints=(asking("after", "2026-06-01T12:00:00Z"),))
    assert moments(rule, enabled=False).passed(NOON + TICK) == 0
    segment = Segment(key="s", constraints=rule.constraints)
    assert moments(segments=(segment,)).passed(NOON + TICK) != moments(segments=(segment,)).passed(NOON - TICK)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(constraints=(asking("starts_with", "2026-06"),)),
        Rule(constraints=(asking("in", "2026-06-01T12:00:00Z"),)),
        Rule(constraints=(asking("after", "soon"),)),
        Rule(rollout=Rollout(percentage=50, by="current_time")),
        Rule(split=Split(variants=(WeightedVariant(variant="on", weight=1),), by="current_time")),
    ],
)
def test_where_time_is_more_than_compared_nothing_is_promised(rule: Rule) -> None:
    assert moments(rule).passed(NOON) is None


def test_there_always_is_a_time() -> None:
    assert moments(Rule(constraints=(asking("exists"),))).passed(NOON) == 0
