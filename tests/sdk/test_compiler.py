"""The two functions of a flag: that they say the same, and that no text of a flag becomes code."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fader.compiler import NEVER_HELD, Cast, compile_flag
from fader.constraints import Surroundings
from fader.context import Context, EvaluationContext
from fader.functions import Enabled, write_decide, write_enabled
from fader.model import Constraint, Flag, Rollout, Rule, Segment, Snapshot, Split, Variant, WeightedVariant
from fader.snapshot import FlagSet
from flag_strategies import World, contexts, examples, worlds


def flag_set(*flags: Flag, segments: dict[str, Segment] | None = None) -> FlagSet:
    known = {flag.key: flag for flag in flags}
    return FlagSet(
        Snapshot(project="p", environment="free", epoch="0", revision=1, flags=known, segments=segments or {}),
        app="pro",
    )


def context_of(attributes: dict[str, Any]) -> EvaluationContext:
    return Context(
        attributes.get("targeting_key"), **{name: attributes[name] for name in attributes if name != "targeting_key"}
    )


@examples(100)
@given(worlds(), contexts(), st.integers(0, 2**32))
def test_both_functions_say_the_same_and_count_the_same(world: World, attributes: dict[str, Any], seed: int) -> None:
    context = context_of(attributes)
    flags = flag_set(*world.flags.values(), segments=world.segments)
    for key in world.flags:
        random.seed(seed)
        details = flags.details(key, context, None)
        counted = flags.counters.flags()[key]
        random.seed(seed)  # the same draws again
        assert flags.enabled[key](context) is details.enabled
        assert flags.counters.flags()[key] == {variant: 2 * count for variant, count in counted.items()}


@pytest.mark.parametrize("given", ["user-42", 42, None, "", Context("user-42"), Context(42), Context(), Context("")])
@pytest.mark.parametrize("percentage", [0, 0.001, 12.345, 50, 99.999, 100])
def test_both_functions_take_every_form_of_a_context(given: Any, percentage: float) -> None:
    rules = Rule(rollout=Rollout(percentage=percentage)), Rule(rollout=Rollout(percentage=percentage / 2, salt="other"))
    targeted = Rule(constraints=(Constraint(attribute="country", operator="in", values=("DE",)),))
    flags = flag_set(Flag(key="a", enabled=True, rules=rules), Flag(key="b", enabled=True, rules=(targeted, *rules)))

    for key in ("a", "b"):
        random.seed(1)
        found = flags.enabled[key](given)
        random.seed(1)
        assert flags.decide(key, given).enabled is found


odd = st.text(max_size=6) | st.sampled_from(
    ("'", '"', '"""', "\\", "\n", "{text}", "{constant}", "%s", "#", "a = 1", ")")
)


@settings(deadline=None)
@given(odd, odd, odd)
def test_no_text_of_a_flag_becomes_code(key: str, attribute: str, value: str) -> None:
    values = (value,)
    rules = tuple(
        Rule(id=value, constraints=(Constraint(attribute=attribute, operator=operator, values=values),))
        for operator in ("in", "starts_with", "ends_with")
    )
    salted = Rule(id=key, rollout=Rollout(percentage=50, salt=value))
    flags = flag_set(Flag(key=key, enabled=True, rules=(*rules, salted)))
    other = EvaluationContext("user-42", {attribute: f"x{value}y"})

    assert flags.enabled[key](EvaluationContext("user-42", {attribute: value}))
    assert flags.enabled[key](other) is flags.decide(key, other).enabled


def test_flags_of_one_shape_share_their_code_and_no_constants() -> None:
    flags = flag_set(*(Flag(key=key, enabled=True, rules=(Rule(rollout=Rollout(percentage=50)),)) for key in "ab"))
    first, second = flags.enabled["a"], flags.enabled["b"]

    ids = [f"user-{number}" for number in range(100)]
    assert first.__code__.co_code == second.__code__.co_code  # type: ignore[attr-defined]
    assert [first(identity) for identity in ids] != [second(identity) for identity in ids]


def test_rules_that_share_a_salt_hash_an_id_once() -> None:
    rules = tuple(Rule(id=str(share), rollout=Rollout(percentage=share)) for share in (10, 30, 60))
    (three,) = [flag_set(Flag(key="a", enabled=True, rules=rules)).enabled["a"]]
    (one,) = [flag_set(Flag(key="a", enabled=True, rules=rules[2:])).enabled["a"]]

    ids = [f"user-{number}" for number in range(1_000)]
    assert [three(identity) for identity in ids] == [one(identity) for identity in ids]


def test_the_largest_flag_that_the_server_takes_is_compiled() -> None:
    constraints = tuple(
        Constraint(attribute=f"a{number}", operator="in", values=(str(number),)) for number in range(50)
    )
    rules = tuple(Rule(id=str(number), constraints=constraints) for number in range(100))
    flags = flag_set(Flag(key="a", enabled=True, rules=rules))

    assert not flags.enabled["a"](Context("user-42", a0="0"))
    assert flags.enabled["a"](Context("user-42", **{f"a{number}": number for number in range(50)}))


# Whatever a server newer or less careful than ours may send


SENSELESS = [
    Rule(id="r", variant="no such variant"),
    Rule(id="r", split=Split(variants=(WeightedVariant(variant="no such variant", weight=1),))),
    Rule(id="r", split=Split(variants=(WeightedVariant(variant="on", weight=0),))),
    Rule(id="r", split=Split(variants=(WeightedVariant(variant="on", weight=-5),))),
    Rule(id="r", split=Split(variants=())),
    Rule(id="r", segments=("no such segment",)),
    Rule(id="r", rollout=Rollout(percentage=-1)),
]


@pytest.mark.parametrize("rule", SENSELESS, ids=lambda rule: msgspec.json.encode(rule).decode())
def test_a_rule_that_makes_no_sense_is_passed_over(rule: Rule) -> None:
    flags = flag_set(Flag(key="a", enabled=True, rules=(rule, Rule(id="next"))))

    assert flags.details("a", "user-42", None).rule == "next"


def test_a_percentage_beyond_a_hundred_is_a_hundred() -> None:
    flags = flag_set(Flag(key="a", enabled=True, rules=(Rule(id="r", rollout=Rollout(percentage=250)),)))

    assert all(flags.enabled["a"](f"user-{number}") for number in range(1_000))


def test_a_flag_without_variants_of_its_own_has_at_least_the_off_variant() -> None:
    flag = Flag(key="a", enabled=True, type="string", off_variant="none")
    details = flag_set(flag).details("a", "user-42", "default")

    assert (details.variant, details.value, details.enabled) == ("none", "default", False)


def test_which_variant_is_off_and_which_is_served_where_nothing_is_said() -> None:
    variants = (Variant(name="red"), Variant(name="none"), Variant(name="blue"))

    assert (Cast.of(Flag(key="a")).first, Cast.of(Flag(key="a")).off) == ("on", "off")
    cast = Cast.of(Flag(key="a", type="string", variants=variants, off_variant="none"))
    assert (cast.first, cast.off, list(cast.variants)) == ("red", "none", ["red", "none", "blue"])


def test_a_prerequisite_that_never_holds_keeps_a_flag_off() -> None:
    compiled = compile_flag(
        Flag(key="a", enabled=True),
        segments={},
        prerequisites=[NEVER_HELD],
        surroundings=Surroundings(),
        counter=lambda _: [0],
    )
    enabled: Enabled = write_enabled(compiled.plan)

    assert not enabled("user-42")
    assert write_decide(compiled.plan)("user-42", {}).reason == "PREREQUISITE_FAILED"
