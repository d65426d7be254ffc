"""Explanations: the evaluator's own answer, and every step that led to it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fader.context import Context
from fader.explain import Explanation, PrerequisiteExplained, RuleExplained, explain
from fader.model import (
    Constraint,
    Flag,
    Prerequisite,
    Rollout,
    Rule,
    Segment,
    Snapshot,
    Split,
    WeightedVariant,
)
from fader.snapshot import FlagSet
from flag_strategies import World, contexts, examples, worlds

GERMAN = Constraint(attribute="country", operator="in", values=("DE",))
STAFF = Segment(key="staff", targeting_keys=("user-1",))
MUNICH = Segment(key="munich", constraints=(Constraint(attribute="city", operator="in", values=("Munich",)),))


def flag_set(*flags: Flag, segments: tuple[Segment, ...] = (STAFF, MUNICH), revision: int = 7) -> FlagSet:
    return FlagSet(
        Snapshot(
            project="p",
            environment="free",
            epoch="0",
            revision=revision,
            flags={flag.key: flag for flag in flags},
            segments={segment.key: segment for segment in segments},
        ),
        app="pro",
    )


def explained(*rules: Rule, context: Any = "user-1", **fields: Any) -> Explanation:
    return explain(flag_set(Flag(**{"key": "flag", "enabled": True, "rules": rules, **fields})), "flag", context)


def why(*rules: Rule, context: Any = "user-1") -> list[str]:
    return [rule.why for rule in explained(*rules, context=context).rules]


def without_draws(flag: Flag) -> Flag:
    """The same flag, whose rollouts and splits hash what the context has, so that each evaluation answers the same."""

    def hashing(rule: Rule) -> Rule:
        split = None if rule.split is None else replace(rule.split, by="environment")
        by = "targeting_key" if rule.rollout.by in {"default", "random"} else rule.rollout.by
        return replace(rule, rollout=replace(rule.rollout, by=by), split=split)

    return replace(flag, rules=tuple(hashing(rule) for rule in flag.rules))


@examples(75)
@given(worlds(), contexts(), st.booleans())
def test_an_explanation_is_the_evaluation(world: World, attributes: dict[str, Any], with_ids: bool) -> None:
    context = Context(
        attributes.get("targeting_key"), **{name: attributes[name] for name in attributes if name != "targeting_key"}
    )
    for flag in world.flags.values():
        kept = {key: without_draws(each) for key, each in world.flags.items()}
        if not with_ids:  # ids are the server's to give, and may be missing
            kept[flag.key] = replace(kept[flag.key], rules=tuple(replace(rule, id="") for rule in kept[flag.key].rules))
        flags = flag_set(*kept.values(), segments=tuple(world.segments.values()))

        told, details = explain(flags, flag.key, context), flags.details(flag.key, context, None)

        assert (told.variant, told.reason, told.rule) == (details.variant, details.reason, details.rule)
        assert (told.enabled, told.value, told.revision) == (details.enabled, details.value, details.revision)
        assert_it_adds_up(told)


def assert_it_adds_up(told: Explanation) -> None:
    """Each part of an explanation has to lead to the answer that it explains."""
    if told.reason == "PREREQUISITE_FAILED":
        assert not all(each.held for each in told.prerequisites)
    elif told.reason != "DISABLED":
        assert all(each.held for each in told.prerequisites)
    matched = [rule for rule in told.rules if rule.matched]
    assert len(matched) == (told.reason in {"TARGETING_MATCH", "SPLIT"})
    evaluated = [rule.evaluated for rule in told.rules]
    assert evaluated == sorted(evaluated, reverse=True)
    for rule in told.rules:
        targeted = all(each.held for each in (*rule.constraints, *rule.segments))
        if rule.matched:
            assert rule.evaluated
            assert targeted
            assert rule.rollout is not None
            assert rule.rollout.admitted
        elif rule.rollout is not None and rule.rollout.admitted:
            assert rule.why == "it serves no variant that the flag has"
        if rule.rollout is not None and rule.rollout.bucket is not None:
            assert rule.rollout.admitted is (rule.rollout.bucket < round(rule.rollout.percentage * 1000))


def test_an_explanation_counts_nothing() -> None:
    flags = flag_set(Flag(key="flag", enabled=True), Flag(key="child", prerequisites=(Prerequisite(flag="flag"),)))
    explain(flags, "flag", "user-1")
    explain(flags, "child", "user-1")

    assert flags.counters.flags() == {}


def test_there_is_no_explanation_of_an_unknown_flag_nor_for_what_is_no_context() -> None:
    with pytest.raises(KeyError):
        explain(flag_set(), "typo", "user-1")
    with pytest.raises(TypeError):
        explain(flag_set(Flag(key="flag")), "flag", object())


def test_an_explanation_is_a_document() -> None:
    told = explained(Rule(id="r", constraints=(GERMAN,), segments=("staff",)), context=Context("user-1", country="DE"))

    document = msgspec.json.decode(msgspec.json.encode(told))
    assert document["rules"] == [
        {
            "id": "r",
            "description": "",
            "evaluated": True,
            "matched": True,
            "why": "everything holds",
            "constraints": [
                {
                    "attribute": "country",
                    "operator": "in",
                    "values": ["DE"],
                    "inverted": False,
                    "case_insensitive": False,
                    "actual": "DE",
                    "held": True,
                }
            ],
            "segments": [{"segment": "staff", "held": True, "why": "the targeting key is listed"}],
            "rollout": {
                "percentage": 100.0,
                "by": "default",
                "salt": "flag",
                "id": "user-1",
                "bucket": told.rules[0].rollout and told.rules[0].rollout.bucket,
                "admitted": True,
            },
            "split": None,
        }
    ]


def test_a_disabled_flag_evaluates_no_rule() -> None:
    told = explained(Rule(id="r"), enabled=False)

    assert told.reason == "DISABLED"
    assert told.rules == (RuleExplained("r", "", evaluated=False, matched=False, why="not evaluated"),)


def test_rules_after_the_deciding_one_are_not_evaluated_whatever_their_ids() -> None:
    told = explained(Rule(constraints=(GERMAN,)), Rule(), Rule())

    assert [(rule.evaluated, rule.matched) for rule in told.rules] == [(True, False), (True, True), (False, False)]


def test_why_a_rule_does_not_decide() -> None:
    assert why(Rule(constraints=(GERMAN,)), context=Context("u", country="FR")) == [
        "the constraint on country does not hold"
    ]
    assert why(Rule(constraints=(GERMAN,))) == ["the constraint on country does not hold (it is missing)"]
    assert why(Rule(segments=("staff",)), context="user-2") == [
        "not in the segment staff: the targeting key is not listed"
    ]
    assert why(Rule(segments=("munich",))) == ["not in the segment munich: its constraint on city does not hold"]
    assert why(Rule(segments=("typo",))) == ["not in the segment typo: there is no such segment"]
    assert why(Rule(rollout=Rollout(percentage=0.001))) == ["not among the 0.001 % that are let in"]
    assert why(Rule(rollout=Rollout(by="company"))) == ["the context has no company to hash"]
    assert why(Rule(variant="typo")) == ["it serves no variant that the flag has"]


def test_the_bucket_is_told_with_what_was_hashed() -> None:
    (rule,) = explained(Rule(rollout=Rollout(percentage=50, salt="s")), context="192267").rules

    assert rule.rollout is not None
    assert (rule.rollout.salt, rule.rollout.id, rule.rollout.bucket, rule.rollout.admitted) == (
        "s",
        "192267",
        49_999,
        True,
    )
    (rule,) = explained(Rule(rollout=Rollout(percentage=50, salt="s")), context=Context(session_id="238333")).rules
    assert rule.rollout is not None
    assert (rule.rollout.id, rule.rollout.bucket, rule.rollout.admitted) == ("238333", 50_000, False)


@pytest.mark.parametrize("rollout", [Rollout(percentage=50, by="random"), Rollout(percentage=50)])
def test_where_a_draw_decides_it_is_told_as_it_fell_in_this_evaluation(rollout: Rollout) -> None:
    told = [explained(Rule(id="r", rollout=rollout), context=None) for _ in range(50)]

    assert {each.enabled for each in told} == {True, False}
    for each in told:
        assert each.rules[0].rollout is not None
        assert each.rules[0].rollout.bucket is None
        assert_it_adds_up(each)


def test_a_prerequisite_that_draws_is_asked_once() -> None:
    half = Flag(key="half", enabled=True, rules=(Rule(rollout=Rollout(percentage=50, by="random")),))
    child = Flag(key="flag", enabled=True, prerequisites=(Prerequisite(flag="half"),))
    told = [explain(flag_set(child, half), "flag", "user-1") for _ in range(50)]

    assert {each.reason for each in told} == {"STATIC", "PREREQUISITE_FAILED"}
    for each in told:
        assert_it_adds_up(each)


def test_a_split_is_told_with_the_place() -> None:
    weights = tuple(WeightedVariant(variant=name, weight=50) for name in ("on", "off"))
    (rule,) = explained(Rule(split=Split(variants=weights))).rules

    assert rule.split is not None
    assert rule.split.of == 100
    assert rule.split.place is not None
    assert rule.split.variant == ("on" if rule.split.place <= 50 else "off")


def prerequisites_of(*wanted: Prerequisite, others: tuple[Flag, ...]) -> tuple[PrerequisiteExplained, ...]:
    flags = flag_set(Flag(key="flag", enabled=True, prerequisites=wanted), *others)
    return explain(flags, "flag", "user-1").prerequisites


def test_prerequisites_are_told_as_they_had_to_be_and_as_they_are() -> None:
    parent = Flag(key="parent", enabled=True)

    assert prerequisites_of(
        Prerequisite(flag="parent"),
        Prerequisite(flag="parent", enabled=False),
        Prerequisite(flag="parent", variants=("on", "off")),
        Prerequisite(flag="typo"),
        others=(parent,),
    ) == (
        PrerequisiteExplained("parent", "on", "on", True),
        PrerequisiteExplained("parent", "off", "on", False),
        PrerequisiteExplained("parent", "on or off", "on", True),
        PrerequisiteExplained("typo", "on", None, False),
    )


def test_flags_that_need_each_other_are_told_to() -> None:
    parent = Flag(key="parent", prerequisites=(Prerequisite(flag="flag"),))

    assert prerequisites_of(Prerequisite(flag="parent", enabled=False), others=(parent,)) == (
        PrerequisiteExplained("parent", "off", "it needs this flag in turn", False),
    )


@pytest.mark.parametrize(
    ("value", "actual"),
    [("DE", "DE"), (None, None), (3.0, "3"), (True, "true"), (["a", 1, None], "[a, 1, missing]"), (object(), "object")],
)
def test_what_the_context_has_is_told_as_text(value: Any, actual: str | None) -> None:
    (rule,) = explained(Rule(constraints=(GERMAN,)), context=Context("u", country=value)).rules

    assert rule.constraints[0].actual == actual
