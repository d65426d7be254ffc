"""flagd's documents: what becomes of each part of a flag."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from conformance_files import conformance_path
from fader.model import Constraint, Rule, Split, Variant, WeightedVariant
from fader_server.imports.flagd import wanted
from fader_server.imports.wanted import UnreadableError, WantedFlag


def boolean(**fields: Any) -> dict[str, Any]:
    return {"state": "ENABLED", "variants": {"yes": True, "no": False}, "defaultVariant": "yes"} | fields


def colour(**fields: Any) -> dict[str, Any]:
    return boolean(variants={"red": "#f00", "blue": "#00f"}, defaultVariant="red") | fields


def flag(fields: dict[str, Any]) -> WantedFlag:
    [found] = wanted({"flags": {"flag": fields}}, "production").flags
    return found


def severities(found: WantedFlag) -> list[tuple[str, str]]:
    return [(note.path, note.severity) for note in found.notes]


def test_without_targeting_everybody_gets_the_default() -> None:
    assert flag(boolean()).flag.rules == (Rule(id="default", variant="on"),)
    found = flag(colour(metadata={"description": "Of the banner"}))
    assert found.flag.rules == (Rule(id="default", variant="red"),)
    assert found.flag.variants == (
        Variant(name="red", value="#f00"),
        Variant(name="blue", value="#00f"),
        Variant(name="off"),
    )
    assert (found.flag.off_variant, found.description, found.notes) == ("off", "Of the banner", ())


def test_a_disabled_flag_gives_the_callers_own_default() -> None:
    assert not flag(colour(state="DISABLED")).flag.enabled
    assert severities(flag(boolean(state="DISABLED"))) == [("state", "differs")]


def test_without_a_default_variant_the_callers_own_is_given() -> None:
    assert flag(colour(defaultVariant=None)).flag.rules == (Rule(id="default", variant="off"),)
    assert severities(flag(boolean(defaultVariant=None))) == [("defaultVariant", "differs")]
    decided = boolean(defaultVariant=None, targeting={"if": [{"==": [{"var": "a"}, "x"]}, "yes", "no"]})
    assert severities(flag(decided)) == []


def test_a_condition_may_name_the_variants_true_and_false() -> None:
    found = flag(boolean(variants={"true": True, "false": False}, targeting={"ends_with": [{"var": "email"}, "@a.b"]}))
    assert found.flag.rules == (
        Rule(
            id="rule-1",
            constraints=(Constraint(attribute="email", operator="ends_with", values=("@a.b",)),),
            variant="on",
        ),
        Rule(id="default", variant="off"),
    )


def test_shares_are_splits_that_are_drawn_anew() -> None:
    by_email = [{"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]}, ["red", 25], ["blue", 75]]
    found = flag(colour(targeting={"fractional": by_email}))
    weights = (WeightedVariant(variant="red", weight=25), WeightedVariant(variant="blue", weight=75))
    assert found.flag.rules == (Rule(id="default", split=Split(variants=weights, by="email")),)
    assert severities(found) == [("targeting.fractional", "redrawn")]
    split = flag(colour(targeting={"fractional": [["red"], ["blue"]]})).flag.rules[0].split
    assert split is not None
    assert (split.by, [one.weight for one in split.variants]) == ("default", [1, 1])


def test_the_time_is_an_attribute_here() -> None:
    early = {"<": [{"var": "$flagd.timestamp"}, 1_767_225_600]}
    found = flag(colour(targeting={"if": [early, "blue"]}))
    moment = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    assert found.flag.rules[0].constraints == (
        Constraint(attribute="current_time", operator="before", values=(moment,)),
    )


@pytest.mark.parametrize(
    ("targeting", "path"),
    [
        ({"if": [{"future": []}, "red"]}, "targeting.if[0].future"),
        ({"if": [{"==": [{"var": "a.b"}, "x"]}, "red"]}, "targeting.if[0].==[0]"),
        ({"if": [{"==": [{"var": ["a", "x"]}, "x"]}, "red"]}, "targeting.if[0].==[0]"),
        ({"if": [{"==": [{"var": "a"}, {"var": "b"}]}, "red"]}, "targeting.if[0].=="),
        ({"if": [{"sem_ver": [{"var": "a"}, "=", "v1"]}, "red"]}, "targeting.if[0].sem_ver[2]"),
        ({"if": [{"$ref": "nowhere"}, "red"]}, "targeting.if[0].$ref"),
        ({"if": [True, "green"]}, "targeting.if[1]"),
        ({"fractional": [{"var": "a"}, ["red", {"var": "b"}]]}, "targeting.fractional[1]"),
        ({"fractional": [{"cat": 5}, ["red", 1]]}, "targeting.fractional[0]"),
    ],
)
def test_what_is_refused(targeting: dict[str, Any], path: str) -> None:
    assert (path, "differs") in severities(flag(colour(targeting=targeting)))


def asked(*attributes: str, operator: str = "or") -> dict[str, Any]:
    return {operator: [{"==": [{"var": name}, "x"]} for name in attributes]}


def within_one_another(count: int) -> dict[str, Any]:
    found: Any = "blue"
    for number in range(count):
        found = {"if": [asked(f"a{number}"), "red", found]}
    return dict(found)


@pytest.mark.parametrize(
    ("targeting", "text"),
    [
        ({"if": [{"and": [asked(f"a{one}", f"b{one}") for one in range(60)]}, "red"]}, "more than 50 rules"),
        ({"if": [asked(*(f"a{one}" for one in range(51))), "red"]}, "more than 50 rules"),
        ({"if": [{"$ref": "doubled-0"}, "red"]}, "more than 50 rules"),
        ({"if": [{"!": {"$ref": "doubled-0"}}, "red"]}, "more than 2,000 others within"),
        ({"if": [{"$ref": "circle"}, "red"]}, "'circle' refers to itself"),
        ({"if": [step for one in range(101) for step in (asked(f"a{one}"), "red")]}, "more than 100 rules"),
        (
            {"if": [asked(*"abcdefgh"), {"if": [asked(*"abcdefgh"), {"if": [asked(*"abcdefgh"), "red"]}]}]},
            "more than 100 rules",
        ),
        (within_one_another(60), "Only 50 branches within one another"),
    ],
)
def test_a_few_lines_that_would_become_very_many_rules_are_refused_at_once(
    targeting: dict[str, Any], text: str
) -> None:
    doubled = {f"doubled-{one}": {"and": [{"$ref": f"doubled-{one + 1}"}] * 2} for one in range(40)}
    evaluators = {**doubled, "doubled-40": asked("a"), "circle": {"and": [{"$ref": "circle"}]}}
    document = {"flags": {"flag": colour(targeting=targeting)}, "$evaluators": evaluators}
    [found] = wanted(document, "production").flags
    assert any(text in note.text and note.severity == "differs" for note in found.notes), found.notes
    assert len(found.flag.rules) <= 101


def test_a_variant_that_there_is_not_is_no_default() -> None:
    for fields in (boolean(defaultVariant="none"), colour(defaultVariant="none"), colour(variants={})):
        assert ("defaultVariant", "differs") in severities(flag(fields))
    assert ("variants", "differs") in severities(flag(colour(variants={}, defaultVariant=None)))


def test_shares_by_a_text_of_one_attribute_need_no_list() -> None:
    found = flag(colour(targeting={"fractional": [{"cat": {"var": "a"}}, ["red", 1], ["blue", 1]]}))
    assert found.flag.rules[0].split is not None
    assert (found.flag.rules[0].split.by, severities(found)) == ("a", [("targeting.fractional", "redrawn")])


def test_what_equals_nothing_is_disputed() -> None:
    found = flag(colour(targeting={"if": [{"==": [{"var": "a"}, 0]}, "blue"]}))
    assert severities(found) == [("targeting.if[0].==", "disputed")]


def test_flags_may_be_a_list() -> None:
    found = wanted({"flags": [boolean(key="one"), colour(key="two")]}, "production").flags
    assert [one.flag.key for one in found] == ["one", "two"]


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, ""),
        ({"flags": {"a": {"state": 1}}}, "flags.a.state"),
        ({"flags": {"a": boolean(state="enabled")}}, "flags.a.state"),
    ],
)
def test_other_documents_cannot_be_read(document: dict[str, Any], path: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        wanted(document, "production")
    assert raised.value.path == path


def test_the_examples_of_its_schemas_are_imported() -> None:
    refused: dict[str, list[str]] = {}
    for file in sorted(conformance_path("flagd-schemas").joinpath("json/test/flags/positive").glob("*.json")):
        document = json.loads(file.read_text("utf-8"))
        for one in wanted(document, "production").flags:
            found = [note.path for note in one.notes if note.severity == "differs"]
            if found:
                refused[f"{file.name}: {one.flag.key}"] = found
    # The caller's own default, where a boolean flag of Fader's has one of its own.
    assert refused == {
        f"{name}-default-variant.json: myBoolFlag": ["defaultVariant"] for name in ("no", "null", "undefined")
    }
