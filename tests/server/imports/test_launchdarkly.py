"""LaunchDarkly's documents: what becomes of each part of a flag."""

from typing import Any

import pytest

from fader.model import Constraint, Flag, Prerequisite, Rollout, Rule, Split, Variant, WeightedVariant
from fader_server.imports.launchdarkly import wanted
from fader_server.imports.wanted import UnreadableError, Wanted, WantedFlag
from fader_server.unleash.constraints import NEVER


def boolean(**fields: Any) -> dict[str, Any]:
    return {"on": True, "variations": [True, False], "offVariation": 1, "fallthrough": {"variation": 0}} | fields


def colour(**fields: Any) -> dict[str, Any]:
    return boolean(variations=["red", "light blue", "red-"], offVariation=None) | fields


def flag(fields: dict[str, Any], **others: Any) -> WantedFlag:
    segments = others.pop("segments", {})
    return next(one for one in wanted({"flags": {"flag": fields, **others}, "segments": segments}, "e").flags)


def severities(found: WantedFlag) -> list[tuple[str, str]]:
    return [(note.path, note.severity) for note in found.notes]


def user(*keys: str, **fields: Any) -> Constraint:
    return Constraint(attribute="targeting_key", operator="in", values=keys, **fields)


def test_a_boolean_flag() -> None:
    found = flag(boolean())
    assert found.flag == Flag(key="flag", enabled=True, rules=(Rule(id="fallthrough", variant="on"),))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"offVariation": 0}, "remark"),
        ({"offVariation": 0, "on": False}, "differs"),
        ({"offVariation": None, "on": False}, "differs"),
    ],
)
def test_a_boolean_flag_that_is_not_false_while_it_is_off(fields: dict[str, Any], severity: str) -> None:
    assert severities(flag(boolean(**fields))) == [("offVariation", severity)]


def test_variations_are_called_by_their_values_where_these_are_words() -> None:
    found = flag(colour()).flag
    assert [(one.name, one.value) for one in found.variants] == [
        ("red", "red"),
        ("variation-2", "light blue"),
        ("variation-3", "red-"),
        ("off", None),
    ]
    assert (found.type, found.off_variant) == ("string", "off")


@pytest.mark.parametrize(
    ("values", "kind"), [([1, 2.5], "number"), ([{"a": 1}, [2]], "object"), (["a", 1], "object"), (["a"], "string")]
)
def test_values_say_the_type(values: list[Any], kind: str) -> None:
    assert flag(boolean(variations=values, offVariation=0)).flag.type == kind


def test_targets_go_before_rules_and_rules_before_the_rest() -> None:
    rule = {"id": "r1", "variation": 2, "clauses": [{"attribute": "plan", "op": "in", "values": ["pro"]}]}
    targets = [{"variation": 0, "values": ["ada"]}, {"variation": 1, "values": []}]
    found = flag(colour(targets=targets, rules=[rule], fallthrough={"variation": 1}))
    assert found.flag.rules == (
        Rule(id="targets-1", constraints=(user("ada"),), variant="red"),
        Rule(
            id="r1", constraints=(Constraint(attribute="plan", operator="in", values=("pro",)),), variant="variation-3"
        ),
        Rule(id="fallthrough", variant="variation-2"),
    )
    assert found.notes == ()


def share(*weights: int, **fields: Any) -> dict[str, Any]:
    shares = [{"variation": number, "weight": weight} for number, weight in enumerate(weights)]
    return {"rollout": {"variations": shares} | fields}


def test_a_share_of_a_boolean_flag_is_a_percentage() -> None:
    found = flag(boolean(fallthrough=share(12_345, 87_655)))
    assert found.flag.rules == (Rule(id="fallthrough", rollout=Rollout(percentage=12.345), variant="on"),)
    assert severities(found) == [("fallthrough.rollout", "redrawn")]


def test_other_shares_are_splits() -> None:
    found = flag(colour(fallthrough=share(20_000, 0, 80_000, bucketBy="company")))
    weights = (WeightedVariant(variant="red", weight=20_000), WeightedVariant(variant="variation-3", weight=80_000))
    assert found.flag.rules == (Rule(id="fallthrough", split=Split(variants=weights, by="company")),)
    assert severities(found) == [("fallthrough.rollout", "redrawn")]


def test_all_of_one_variation_is_no_share() -> None:
    found = flag(colour(fallthrough=share(0, 100_000)))
    assert (found.flag.rules, found.notes) == ((Rule(id="fallthrough", variant="variation-2"),), ())


def clause(op: str, *values: Any, **fields: Any) -> dict[str, Any]:
    return {"attribute": "a", "op": op, "values": list(values)} | fields


@pytest.mark.parametrize(
    ("given", "operator", "values"),
    [
        (clause("in", "x", 7, True), "in", ("x", 7, True)),
        (clause("startsWith", "x"), "starts_with", ("x",)),
        (clause("matches", "^x+$"), "matches", ("^x+$",)),
        (clause("lessThan", 1, 3), "<", (3,)),
        (clause("greaterThanOrEqual", 1, 3), ">=", (1,)),
        (clause("before", 0, 1000), "before", ("1970-01-01T00:00:01+00:00",)),
        (clause("after", "2026-01-01T00:00:00Z"), "after", ("2026-01-01T00:00:00+00:00",)),
        (clause("semVerEqual", "2", "2.1-rc.1"), "semver_eq", ("2.0.0", "2.1.0-rc.1")),
        (clause("semVerGreaterThan", "2.10", "2.9"), "semver_gt", ("2.9.0",)),
    ],
    ids=lambda value: value["op"] if isinstance(value, dict) else "",
)
def test_clauses(given: dict[str, Any], operator: str, values: tuple[Any, ...]) -> None:
    found = flag(boolean(rules=[{"id": "r", "variation": 0, "clauses": [given]}]))
    assert found.flag.rules[0].constraints == (Constraint(attribute="a", operator=operator, values=values),)
    assert found.notes == ()


def test_a_negated_clause_asks_that_there_is_an_attribute() -> None:
    found = flag(boolean(rules=[{"variation": 0, "clauses": [clause("contains", "x", negate=True)]}]))
    assert found.flag.rules[0].constraints == (
        Constraint(attribute="a", operator="exists"),
        Constraint(attribute="a", operator="contains", values=("x",), inverted=True),
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (clause("future", 1), "op"),
        (clause("matches", "(?=x)"), "values[0]"),
        (clause("in", "x", contextKind="company"), "contextKind"),
        (clause("in", "x", contextKind="user", attribute="/a/b"), "attribute"),
        (clause("in", "x", attribute="session_id"), "attribute"),
        (clause("in", {"x": 1}), "values"),
        (clause("segmentMatch", "nowhere"), "values[0]"),
    ],
)
def test_clauses_that_are_refused(given: dict[str, Any], path: str) -> None:
    found = flag(boolean(rules=[{"variation": 0, "clauses": [given]}]))
    assert severities(found) == [(f"rules[0].clauses[0].{path}", "differs")]


SEGMENTS = {
    "listed": {"included": ["ada", "bob"]},
    "ruled": {
        "included": ["eve"],
        "excluded": ["bob"],
        "rules": [{"clauses": [clause("in", "x")]}, {"clauses": [clause("in", "y")]}],
    },
}


def test_a_segment_of_several_rules_becomes_several_segments() -> None:
    found = wanted({"flags": {}, "segments": SEGMENTS}, "e").segments
    assert [one.key for one in found] == ["listed", "ruled", "ruled-rule-2"]
    ruled = found[1].segment
    assert ruled is not None
    assert ruled.targeting_keys == ("eve",)
    assert ruled.constraints == (
        Constraint(attribute="a", operator="in", values=("x",)),
        user("bob", inverted=True),
    )


def test_any_of_several_segments_will_do() -> None:
    rule = {"id": "r", "variation": 0, "clauses": [clause("segmentMatch", "listed", "ruled")]}
    found = flag(boolean(rules=[rule]), segments=SEGMENTS).flag
    assert [(one.id, one.segments) for one in found.rules] == [
        ("r", ("listed",)),
        ("r-2", ("ruled",)),
        ("r-3", ("ruled-rule-2",)),
        ("fallthrough", ()),
    ]


def test_very_many_ways_for_clauses_to_hold_are_refused_at_once() -> None:
    clauses = [clause("segmentMatch", "listed", "ruled"), clause("segmentMatch", *["listed"] * 1_000_000)]
    found = flag(boolean(rules=[{"id": "r", "variation": 0, "clauses": clauses}]), segments=SEGMENTS)
    assert severities(found) == [("rules[0].clauses[1]", "differs")]
    assert found.flag.rules[0].constraints == (NEVER,)


def test_a_negated_segment_is_a_list_or_refused() -> None:
    rules = [{"variation": 0, "clauses": [clause("segmentMatch", name, negate=True)]} for name in ("listed", "ruled")]
    found = flag(boolean(rules=rules), segments=SEGMENTS)
    assert found.flag.rules[0].constraints == (user("ada", "bob", inverted=True),)
    assert found.flag.rules[1].constraints == (NEVER,)
    assert severities(found) == [("rules[1].clauses[0].negate", "differs")]


def test_prerequisites() -> None:
    parents = {"yes": boolean(), "colours": colour()}
    needed = [{"key": "yes", "variation": 0}, {"key": "colours", "variation": 0}]
    found = flag(boolean(prerequisites=needed), **parents)
    assert found.flag.prerequisites == (Prerequisite(flag="yes"), Prerequisite(flag="colours", variants=("red",)))
    assert found.notes == ()
    wrong = [{"key": "yes", "variation": 1}, {"key": "nowhere", "variation": 0}]
    assert severities(flag(boolean(prerequisites=wrong), **parents)) == [
        ("prerequisites[0].variation", "differs"),
        ("prerequisites[1].key", "differs"),
    ]


def rest(environments: Any, **fields: Any) -> dict[str, Any]:
    return {
        "key": "banner",
        "name": "The banner",
        "kind": "multivariate",
        "tags": ["shop"],
        "temporary": False,
        "variations": [{"_id": "1", "value": "a b", "name": "A and B"}, {"_id": "2", "value": "c"}],
        "environments": environments,
    } | fields


SETTINGS = {
    "on": True,
    "archived": False,
    "offVariation": 1,
    "fallthrough": {"variation": 0},
    "rules": [{"_id": "5f", "description": "Pros", "variation": 1, "clauses": [clause("future")]}],
}


def read(*flags: dict[str, Any], environment: str = "production") -> Wanted:
    return wanted({"items": list(flags)}, environment)


def test_what_the_rest_api_answers() -> None:
    other = SETTINGS | {"on": False}
    [found] = read(rest({"test": other, "production": SETTINGS})).flags
    assert (found.description, found.kind, found.tags) == ("The banner", "ops", ("shop",))
    assert found.flag.enabled
    assert found.flag.variants == (Variant(name="A-and-B", value="a b"), Variant(name="c", value="c"))
    assert found.flag.rules[0].id == "5f"
    assert severities(found) == [("environments.production.rules[0].clauses[0].op", "differs")]


def test_one_environment_goes_wherever_it_is_sent() -> None:
    assert [one.flag.key for one in read(rest({"test": SETTINGS})).flags] == ["banner"]


def test_a_page_of_several_is_told_from_all_flags() -> None:
    def remarks(total: Any) -> tuple[str, ...]:
        return wanted({"items": [rest({"test": SETTINGS | {"rules": []}})], "totalCount": total}, "production").remarks

    assert remarks(101) == ("Only 1 of 101 flags are in the document: fetch the others, too, with offset=1.",)
    assert [remarks(total) for total in (1, 0, None, "many")] == [()] * 4


def test_what_is_left_out_is_named() -> None:
    flags = (rest({"production": SETTINGS}, archived=True), rest({"a": SETTINGS, "b": SETTINGS}, key="other"))
    assert read(*flags).remarks == (
        "Archived in LaunchDarkly, and left out: banner.",
        "Without settings for 'production', and left out: other.",
    )


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, ""),
        ({"data": []}, "data"),
        ({"flags": {"a": {"on": "perhaps"}}}, "flags.a.on"),
        ({"items": [{}]}, "items[0]"),
    ],
    ids=["empty", "data of another kind", "of another form", "a list of another form"],
)
def test_other_documents_cannot_be_read(document: dict[str, Any], path: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        wanted(document, "production")
    assert raised.value.path == path
