"""Whom guards compare: those whom a rule's rollout lets in, and those whom only it keeps out."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

import flag_strategies
from fader.comparison import comparison
from fader.context import Context, parts
from fader.model import BY_RANDOM, Constraint, Flag, Prerequisite, Rollout, Rule, Snapshot
from fader.snapshot import FlagSet
from flag_strategies import contexts, examples

GERMAN = Constraint(attribute="country", operator="in", values=("DE",))
STAFF = Constraint(attribute="email", operator="ends_with", values=("@example.com",))
RAMPED = Rule(id="ramped", constraints=(GERMAN,), rollout=Rollout(percentage=50))
IN, OUT = "user-2", "ada"
"""Whom half of the users of ``checkout`` includes, and whom it does not."""


def flag_set(*flags: Flag) -> FlagSet:
    return FlagSet(
        Snapshot(project="p", environment="e", epoch="0", revision=1, flags={each.key: each for each in flags})
    )


def side(flags: FlagSet, context: object, rule: str = "ramped") -> bool | None:
    found = comparison(flags, "checkout", rule)
    assert found is not None
    return found.side(*parts(context))


def test_the_rollout_decides_among_those_whom_its_rule_addresses() -> None:
    flags = flag_set(Flag(key="checkout", enabled=True, rules=(RAMPED,)))
    assert side(flags, Context(IN, country="DE")) is True
    assert side(flags, Context(OUT, country="DE")) is False
    assert side(flags, Context(IN, country="FR")) is None


def test_nobody_else_is_compared() -> None:
    staff = Rule(id="staff", constraints=(STAFF,))
    flags = flag_set(Flag(key="checkout", enabled=True, rules=(staff, RAMPED, Rule(id="rest"))))
    assert side(flags, Context(IN, country="DE", email="ada@example.com")) is None
    assert side(flags, Context(IN, country="DE")) is True
    assert side(flags, Context(OUT, country="DE")) is False  # whom the last rule lets in does not have it by the ramp
    assert side(flags, Context(OUT, country="FR")) is None


def test_at_the_end_everybody_addressed_has_the_feature() -> None:
    whole = replace(RAMPED, rollout=Rollout(percentage=100))
    flags = flag_set(Flag(key="checkout", enabled=True, rules=(whole,)))
    assert side(flags, Context(OUT, country="DE")) is True
    assert side(flags, Context(OUT, country="FR")) is None


def test_a_flag_that_is_off_compares_nobody() -> None:
    off = flag_set(Flag(key="checkout", rules=(RAMPED,)))
    assert comparison(off, "checkout", "ramped") is None
    assert side(off, "anybody", rule="") is None
    child = Flag(key="checkout", enabled=True, rules=(RAMPED,), prerequisites=(Prerequisite(flag="parent"),))
    unmet = flag_set(child, Flag(key="parent"))
    assert side(unmet, Context(IN, country="DE")) is None
    assert side(unmet, Context(IN, country="DE"), rule="") is None


def test_a_flag_as_a_whole_compares_all() -> None:
    flags = flag_set(Flag(key="checkout", enabled=True, rules=(RAMPED,)))
    assert side(flags, Context(IN, country="DE"), rule="") is True
    assert side(flags, Context(IN, country="FR"), rule="") is False


def test_what_is_not_there_compares_nobody() -> None:
    flags = flag_set(Flag(key="checkout", enabled=True, rules=(RAMPED,)))
    assert comparison(flags, "checkout", "another") is None
    assert comparison(flags, "search", "ramped") is None


def test_users_are_told_apart_by_what_the_rollout_hashes() -> None:
    def identified(by: str, context: object) -> str | None:
        rule = replace(RAMPED, rollout=Rollout(percentage=50, by=by))
        found = comparison(flag_set(Flag(key="checkout", enabled=True, rules=(rule,))), "checkout", "ramped")
        assert found is not None
        return found.identify(*parts(context))

    assert identified("default", "ada") == "ada"
    assert identified("default", Context(session_id="s-1")) == "s-1"
    assert identified("default", None) is None
    assert identified("company", Context("ada", company="acme")) == "acme"
    assert identified("random", "ada") is None


@examples(60)
@given(flag_strategies.flags(), contexts(), st.data())
def test_it_is_what_evaluating_says(flag: Flag, attributes: dict[str, Any], data: st.DataObject) -> None:
    assume(flag.rules)
    # Where draws decide they fall otherwise each time.
    rules = tuple(replace(rule, rollout=replace(rule.rollout, by=drawn_by_none(rule))) for rule in flag.rules)
    position = data.draw(st.integers(0, len(rules) - 1))
    context = Context(IN, **{name: value for name, value in attributes.items() if name != "targeting_key"})

    def flags_with(rule: Rule) -> FlagSet:
        return flag_set(replace(flag, enabled=True, rules=(*rules[:position], rule, *rules[position + 1 :])))

    flags, with_all = flags_with(rules[position]), flags_with(replace(rules[position], rollout=Rollout()))
    is_addressed = with_all.decide("checkout", context).position == position
    is_let_in = flags.decide("checkout", context).position == position
    found = comparison(flags, "checkout", rules[position].id)
    assert (found and found.side(*parts(context))) == (is_let_in if is_addressed else None)


def drawn_by_none(rule: Rule) -> str:
    return "default" if rule.rollout.by == BY_RANDOM else rule.rollout.by
