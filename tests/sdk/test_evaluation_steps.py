"""What a flag means, step by step, in the order in which it is evaluated."""

from typing import Any

import pytest

from fader.context import Context
from fader.evaluation import ErrorCode, EvaluationDetails, Reason
from fader.model import (
    Constraint,
    Flag,
    Prerequisite,
    Rollout,
    Rule,
    Segment,
    Snapshot,
    Split,
    Variant,
    WeightedVariant,
)
from fader.snapshot import FlagSet

GERMAN = Constraint(attribute="country", operator="in", values=("DE",))
STAFF = Segment(key="staff", targeting_keys=("user-1",))
COLOURS = tuple(Variant(name=name, value=f"#{name}") for name in ("red", "blue", "grey"))


def flag(key: str = "flag", **fields: Any) -> Flag:
    return Flag(**{"key": key, "enabled": True, **fields})


def colour(**fields: Any) -> Flag:
    return flag(**{"type": "string", "variants": COLOURS, "off_variant": "grey", **fields})


def evaluate(*flags: Flag, context: Any = "user-1", default: Any = None) -> EvaluationDetails[Any]:
    """The details of the first flag; its other face has to agree."""
    snapshot = Snapshot(
        project="default",
        environment="production",
        epoch="0",
        revision=7,
        flags={flag.key: flag for flag in flags},
        segments={"staff": STAFF},
    )
    flag_set = FlagSet(snapshot)
    details = flag_set.details(flags[0].key, context, default)
    assert flag_set.enabled[flags[0].key](context) is details.enabled
    assert details.revision == 7
    return details


def test_1_an_unknown_flag_gives_the_callers_default() -> None:
    flags = FlagSet(Snapshot(project="p", environment="production", epoch="0", revision=7))

    details = flags.details("typo", "user-1", "default")

    assert details == EvaluationDetails(
        key="typo",
        value="default",
        reason=Reason.ERROR,
        revision=7,
        error_code=ErrorCode.FLAG_NOT_FOUND,
        error_message="there is no flag 'typo' in production",
    )
    with pytest.raises(KeyError):
        flags.enabled["typo"]
    assert flags.counters.unknown() == {"typo": 1}


def test_2_a_flag_that_is_not_enabled_gives_its_off_variant_whatever_its_rules_say() -> None:
    details = evaluate(colour(enabled=False, rules=(Rule(variant="red"),), prerequisites=(Prerequisite(flag="x"),)))

    assert (details.variant, details.value, details.enabled) == ("grey", "#grey", False)
    assert details.reason == Reason.DISABLED


@pytest.mark.parametrize(
    ("wanted", "parent", "holds"),
    [
        (Prerequisite(flag="parent"), flag("parent"), True),
        (Prerequisite(flag="parent"), flag("parent", enabled=False), False),
        (Prerequisite(flag="parent", enabled=False), flag("parent"), False),
        (Prerequisite(flag="parent", enabled=False), flag("parent", enabled=False), True),
        (Prerequisite(flag="parent"), flag("parent", rules=(Rule(constraints=(GERMAN,)),)), False),
        (Prerequisite(flag="parent", variants=("red",)), colour(key="parent"), True),
        (Prerequisite(flag="parent", variants=("blue", "red")), colour(key="parent"), True),
        (Prerequisite(flag="parent", variants=("blue",)), colour(key="parent"), False),
        (Prerequisite(flag="parent", variants=("grey",)), colour(key="parent", enabled=False), False),
        (Prerequisite(flag="parent", enabled=False, variants=("grey",)), colour(key="parent", enabled=False), True),
        (Prerequisite(flag="nowhere"), flag("parent"), False),
        (Prerequisite(flag="nowhere", enabled=False), flag("parent"), False),
        (Prerequisite(flag="flag"), flag("parent"), False),
    ],
)
def test_3_a_prerequisite_has_to_hold(wanted: Prerequisite, parent: Flag, holds: bool) -> None:
    details = evaluate(flag(prerequisites=(wanted,)), parent)

    assert details.enabled is holds
    assert details.reason == (Reason.STATIC if holds else Reason.PREREQUISITE_FAILED)


def test_3_all_prerequisites_have_to_hold() -> None:
    wanted = (Prerequisite(flag="one"), Prerequisite(flag="other"))

    assert evaluate(flag(prerequisites=wanted), flag("one"), flag("other")).enabled
    assert not evaluate(flag(prerequisites=wanted), flag("one"), flag("other", enabled=False)).enabled


def test_3_prerequisites_have_prerequisites_in_turn_and_are_asked_for_the_same_context() -> None:
    chain = [flag("flag", prerequisites=(Prerequisite(flag="flag-1"),))]
    chain += [flag(f"flag-{n}", prerequisites=(Prerequisite(flag=f"flag-{n + 1}"),)) for n in range(1, 50)]
    chain.append(flag("flag-50", rules=(Rule(constraints=(GERMAN,)),)))

    assert evaluate(*chain, context=Context("user-1", country="DE")).enabled
    assert not evaluate(*chain, context=Context("user-1", country="FR")).enabled


def test_3_flags_that_need_each_other_are_off() -> None:
    one = flag("one", prerequisites=(Prerequisite(flag="other", enabled=False),))
    other = flag("other", prerequisites=(Prerequisite(flag="one", enabled=False),))

    assert evaluate(one, other).reason == Reason.PREREQUISITE_FAILED
    assert evaluate(other, one).reason == Reason.PREREQUISITE_FAILED
    assert evaluate(flag(prerequisites=(Prerequisite(flag="one", enabled=False),)), one, other).enabled


def test_4_without_rules_a_flag_is_on() -> None:
    assert evaluate(flag()) == EvaluationDetails(
        key="flag", value=True, variant="on", enabled=True, reason=Reason.STATIC, revision=7
    )
    details = evaluate(colour())
    assert (details.variant, details.value, details.enabled) == ("red", "#red", True)


@pytest.mark.parametrize(
    ("user", "country", "rule"),
    [("user-1", "DE", "both"), ("user-1", "FR", "staff"), ("user-2", "DE", "german"), ("user-2", "FR", None)],
)
def test_5_the_first_rule_decides_whose_constraints_and_segments_all_hold(
    user: str, country: str, rule: str | None
) -> None:
    rules = (
        Rule(id="both", constraints=(GERMAN,), segments=("staff",)),
        Rule(id="staff", segments=("staff",)),
        Rule(id="german", constraints=(GERMAN,)),
    )
    details = evaluate(flag(rules=rules), context=Context(user, country=country))

    assert details.rule == rule
    assert details.reason == (Reason.DEFAULT if rule is None else Reason.TARGETING_MATCH)


def test_5_who_is_not_let_in_by_a_rollout_falls_through_to_the_next_rule() -> None:
    # In the salt "s" 6368 has bucket 0 and 133468 has bucket 99,999.
    rules = (Rule(id="few", rollout=Rollout(percentage=0.001, salt="s")), Rule(id="all"))

    details = evaluate(flag(rules=rules), context="6368")
    assert (details.rule, details.reason) == ("few", Reason.SPLIT)
    details = evaluate(flag(rules=rules), context="133468")
    assert (details.rule, details.reason) == ("all", Reason.TARGETING_MATCH)


def test_5_a_rule_may_serve_the_off_variant_and_decides_like_any_other() -> None:
    rules = (Rule(id="block", segments=("staff",), variant="off"), Rule(id="all"))

    details = evaluate(flag(rules=rules), context="user-1")
    assert (details.enabled, details.rule, details.reason) == (False, "block", Reason.TARGETING_MATCH)
    assert evaluate(flag(rules=rules), context="user-2").enabled


def test_5_a_split_serves_weighted_variants_and_each_user_always_the_same() -> None:
    weights = tuple(WeightedVariant(variant=name, weight=weight) for name, weight in (("red", 1), ("blue", 3)))
    split = colour(rules=(Rule(id="ab", split=Split(variants=weights)),))
    served = [evaluate(split, context=f"user-{number}") for number in range(1_000)]

    assert {details.reason for details in served} == {Reason.SPLIT}
    assert sum(details.variant == "blue" for details in served) == pytest.approx(750, abs=45)
    assert [evaluate(split, context=f"user-{number}").variant for number in range(50)] == [
        details.variant for details in served[:50]
    ]


def test_5_a_split_that_serves_the_off_variant_is_off_for_those() -> None:
    weights = (WeightedVariant(variant="grey", weight=1),)
    details = evaluate(colour(rules=(Rule(id="ab", split=Split(variants=weights)),)))

    assert (details.enabled, details.variant, details.reason) == (False, "grey", Reason.SPLIT)


def test_6_if_no_rule_lets_in_the_off_variant_is_served() -> None:
    details = evaluate(colour(rules=(Rule(constraints=(GERMAN,)),)))

    assert (details.variant, details.enabled, details.reason, details.rule) == ("grey", False, Reason.DEFAULT, None)


def test_a_variant_without_a_value_gives_the_callers_default() -> None:
    valueless = colour(variants=(Variant(name="red"), Variant(name="grey")))
    details = evaluate(valueless, default="mine")

    assert (details.variant, details.value, details.enabled) == ("red", "mine", True)


# What is hashed


def admitted(context: Any, times: int = 200, **rollout: Any) -> int:
    rules = (Rule(rollout=Rollout(**{"percentage": 50.0, **rollout})),)
    flags = FlagSet(Snapshot(project="p", environment="e", epoch="0", revision=1, flags={"flag": flag(rules=rules)}))
    return sum(flags.enabled["flag"](context) for _ in range(times))


def test_by_default_the_targeting_key_is_hashed_else_the_session_else_each_call_draws() -> None:
    assert admitted(Context("6368", session_id="133468"), percentage=0.001, salt="s") == 200
    assert admitted(Context("", session_id="6368"), percentage=0.001, salt="s") == 200
    assert admitted(Context("133468", session_id="6368"), percentage=99.999, salt="s") == 0
    assert 0 < admitted(None) < 200
    assert 0 < admitted(Context(session_id="")) < 200


def test_by_random_each_call_draws() -> None:
    assert 0 < admitted("6368", by="random") < 200
    assert admitted("6368", by="random", percentage=0) == 0
    assert admitted("6368", by="random", percentage=100) == 200


def test_by_an_attribute_those_without_it_are_not_let_in_even_at_a_hundred() -> None:
    assert admitted(Context("u", company="6368"), by="company", percentage=0.001, salt="s") == 200
    assert admitted(Context("u", company=6368), by="company", percentage=0.001, salt="s") == 200
    for percentage in (50.0, 100.0):
        assert admitted("6368", by="company", percentage=percentage) == 0
        assert admitted(Context("u", company=[1]), by="company", percentage=percentage) == 0
        assert admitted(Context("u", company="\ud800"), by="company", percentage=percentage) == 0
        assert admitted(Context(None), by="targeting_key", percentage=percentage) == 0


def test_a_user_id_without_utf8_is_an_error_only_where_it_is_hashed() -> None:
    with pytest.raises(UnicodeEncodeError):
        admitted("\ud800")
    assert admitted("\ud800", percentage=100) == 200
    assert admitted("\ud800", percentage=0) == 0


def test_flags_with_a_salt_in_common_let_in_the_same_people_and_others_do_not() -> None:
    def let_in(key: str, salt: str) -> list[bool]:
        half = flag(key, rules=(Rule(rollout=Rollout(percentage=50, salt=salt)),))
        return [evaluate(half, context=f"user-{number}").enabled for number in range(300)]

    assert let_in("one", "shared") == let_in("other", "shared")
    assert let_in("one", "") != let_in("other", "")
    assert let_in("one", "") == let_in("other", "one")
