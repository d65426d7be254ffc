"""What flagd cannot be told is refused, with the place."""

from typing import Any

import pytest

from fader.model import (
    Constraint,
    Flag,
    MemberList,
    Prerequisite,
    Rollout,
    Rule,
    Segment,
    Snapshot,
    Split,
    Variant,
    WeightedVariant,
)
from fader_server.exports.flagd import exported
from fader_server.imports.wanted import Acceptable
from portable_flags import definitions

PARENT = Flag(key="parent")
LONG = Segment(key="long", members=MemberList(list="a", version=1, count=5_000, digest="0" * 16))


def snapshot(flag: Flag, *segments: Segment) -> Snapshot:
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=7,
        flags={"flag": flag, "parent": PARENT},
        segments={segment.key: segment for segment in segments},
    )


def refusals(flag: Flag, *segments: Segment, accepted: frozenset[Acceptable] = frozenset()) -> list[tuple[str, str]]:
    world = snapshot(flag, *segments)
    found = exported(world, definitions(world), accepted)
    assert ("flag" in found.document["flags"]) is ("flag" not in found.refused)
    return [(note.path, note.severity) for note in found.refused.get("flag", ())]


def ruled(**fields: Any) -> Flag:
    return Flag(key="flag", enabled=True, rules=(Rule(id="r", **fields),))


def asked(operator: str, *values: Any, attribute: str = "a", **fields: Any) -> Flag:
    return ruled(constraints=(Constraint(attribute=attribute, operator=operator, values=values, **fields),))


@pytest.mark.parametrize(
    ("flag", "path", "severity"),
    [
        (asked("matches", "x+"), "rules[0].constraints[0].operator", "differs"),
        (asked("in_cidr", "10.0.0.0/8"), "rules[0].constraints[0].operator", "differs"),
        (asked("contains", "x", case_insensitive=True), "rules[0].constraints[0].case_insensitive", "differs"),
        (asked("before", "2026-01-01T00:00:00Z"), "rules[0].constraints[0]", "differs"),
        (asked("in", "x", attribute="a.b"), "rules[0].constraints[0].attribute", "differs"),
        (asked("in", "x", attribute="environment"), "rules[0].constraints[0].attribute", "differs"),
        (ruled(rollout=Rollout(percentage=50.0)), "rules[0].rollout", "redrawn"),
        (ruled(rollout=Rollout(percentage=50.0, by="random")), "rules[0].rollout.by", "differs"),
        (ruled(segments=("long",)), "rules[0].segments[0].members", "differs"),
        (Flag(key="flag", enabled=True, prerequisites=(Prerequisite(flag="parent"),)), "prerequisites", "differs"),
        (
            Flag(
                key="flag",
                type="object",
                variants=(Variant(name="a", value={"x": 1}), Variant(name="b", value=[1]), Variant(name="off")),
            ),
            "variants",
            "differs",
        ),
        (Flag(key="flag", type="string", variants=(Variant(name="off"),)), "variants", "differs"),
        (
            Flag(key="flag", type="string", variants=(Variant(name="a"), Variant(name="off", value="x"))),
            "variants",
            "differs",
        ),
    ],
)
def test_what_is_refused(flag: Flag, path: str, severity: str) -> None:
    assert (path, severity) in refusals(flag, LONG)


def test_shares_are_written_down_if_they_may_be_drawn_anew() -> None:
    split = Split(variants=(WeightedVariant(variant="on", weight=1), WeightedVariant(variant="off", weight=2)))
    flag = ruled(rollout=Rollout(percentage=12.345, by="company", salt="s"), split=split)
    world = snapshot(flag)
    assert refusals(flag) == [("rules[0].rollout", "redrawn"), ("rules[0].split", "redrawn")]
    found = exported(world, definitions(world), frozenset({"redrawn"})).document["flags"]["flag"]
    company = {"var": "company"}
    drawn = {"fractional": [{"cat": ["s:", company]}, ["in", 12_345], ["out", 87_655]]}
    shared = {"fractional": [{"cat": ["flag:variant:", {"var": "targetingKey"}]}, ["on", 1], ["off", 2]]}
    assert found["targeting"] == {
        "if": [{"and": [{"!==": [company, None]}, {"==": [drawn, "in"]}]}, shared],
    }


def test_a_flag_that_is_off_has_its_off_variant_and_no_rules() -> None:
    off = Flag(key="flag", rules=(Rule(id="r"),), prerequisites=(Prerequisite(flag="parent"),))
    world = snapshot(off)
    found = exported(world, definitions(world), frozenset())
    assert found.document["flags"]["flag"] == {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "metadata": {"description": "What it is for"},
    }
    assert [note.severity for note in found.notes["flag"]] == ["remark"]


def test_only_segments_that_are_asked_for_are_in_the_document() -> None:
    listed, other = Segment(key="listed", targeting_keys=("ada",)), Segment(key="other", targeting_keys=("bob",))
    world = snapshot(ruled(segments=("listed",)), listed, other)
    document = exported(world, definitions(world), frozenset()).document
    assert document["$evaluators"] == {"listed": {"in": [{"var": "targetingKey"}, ["ada"]]}}
    assert document["flags"]["flag"]["targeting"] == {"if": [{"$ref": "listed"}, "on"]}
    assert document["metadata"] == {"flagSetId": "shop/production", "version": "7"}
