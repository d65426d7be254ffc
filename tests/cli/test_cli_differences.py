"""Changes and rules in words."""

import doctest

import pytest

from fader.model import Constraint, Rollout, Rule, Split, WeightedVariant
from fader_cli import conditions, differences, percentages, sentences
from fader_cli.sentences import rule_sentence, state_in_short

GERMANY = {"attribute": "country", "operator": "in", "values": ["DE"]}


@pytest.mark.parametrize("module", [conditions, differences, percentages, sentences])
def test_examples_in_the_code_are_true(module: object) -> None:
    tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"enabled": False}, {"enabled": True}, ["~ OFF → ON"]),
        ({"enabled": True}, {"enabled": True}, []),
        ({"description": ""}, {"description": "new"}, ["+ description: new"]),
        ({"description": "old"}, {"description": ""}, ["- description: old"]),
        ({"owner": "ada"}, {"owner": "grace"}, ["~ owner: ada → grace"]),
        (
            {"description": "a" * 40},
            {"description": "b" * 40},
            ["- description: " + "a" * 40, "+ description: " + "b" * 40],
        ),
        ({"tags": ["a", "b"]}, {"tags": ["b", "c"]}, ["- tags: a", "+ tags: c"]),
        (
            {"rules": [{"id": "r1", "rollout": {"percentage": 10.0}}]},
            {"rules": [{"id": "r1"}]},
            ["~ rule r1: 10 % of everybody → everybody"],
        ),
        (
            {"rules": [{"id": "r1"}]},
            {"rules": [{"id": "r1", "description": "VIPs"}, {"id": "r2", "constraints": [GERMANY]}]},
            ["~ rule r1: everybody → everybody “VIPs”", "+ rule r2: country in DE"],
        ),
        ({"rules": [{"id": "a"}, {"id": "b"}]}, {"rules": [{"id": "b"}, {"id": "a"}]}, ["~ rules in another order"]),
        ({"prerequisites": []}, {"prerequisites": [{"flag": "base"}]}, ["+ needs base on"]),
        ({"constraints": [GERMANY]}, {"constraints": []}, ["- if country in DE"]),
        (
            {"variants": [{"name": "red", "value": "#f00"}]},
            {"variants": [{"name": "red", "value": "#e00"}]},
            ['~ variant red: "#f00" → "#e00"'],
        ),
        (None, {"kind": "release", "type": "boolean", "enabled": False, "off_variant": "off", "archived": False}, []),
        (None, {"kind": "ops", "enabled": False}, ["+ kind: ops"]),
        ({"archived": False}, {"archived": True}, ["~ archived: no → yes"]),
        (None, None, []),
    ],
)
def test_a_change_in_words(before: object, after: object, lines: list[str]) -> None:
    assert differences.differences(before, after) == lines


def test_a_long_list_stays_short() -> None:
    (line,) = differences.differences(
        {"targeting_keys": []}, {"targeting_keys": [f"user-{number}" for number in range(5_000)]}
    )
    assert line.endswith("user-19 and 4,980 more")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(), "everybody"),
        (Rule(rollout=Rollout(percentage=0.5)), "0.5 % of everybody"),
        (Rule(rollout=Rollout(percentage=100, by="tenant")), "100 % by tenant of everybody"),
        (
            Rule(
                constraints=(Constraint(attribute="plan", operator="in", values=("pro",)),),
                segments=("beta",),
                rollout=Rollout(percentage=10, by="tenant", salt="x"),
                variant="red",
            ),
            "10 % by tenant salted x of those with plan in pro and in segment beta → red",
        ),
        (
            Rule(
                split=Split(variants=(WeightedVariant(variant="a", weight=1), WeightedVariant(variant="b", weight=3)))
            ),
            "everybody → a=1, b=3",
        ),
    ],
)
def test_a_rule_in_words(rule: Rule, sentence: str) -> None:
    assert rule_sentence(rule) == sentence


@pytest.mark.parametrize(
    ("enabled", "rules", "state"),
    [
        (False, [{}], "OFF"),
        (True, [], "ON"),
        (True, [{"rollout": {"percentage": 12.5}}], "ON 12.5 %"),
        (True, [{"rollout": {"percentage": 100}}], "ON"),
        (True, [{"constraints": [GERMANY]}], "ON 1 rule"),
        (True, [{}, {}], "ON 2 rules"),
    ],
)
def test_a_state_in_a_word_or_two(enabled: bool, rules: list[object], state: str) -> None:
    assert state_in_short({"enabled": enabled, "rules": rules}) == state
