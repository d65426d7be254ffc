"""The document that Unleash's project page imports."""

import json

import msgspec
import pytest

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
from fader_server.exports.unleash import exported
from fader_server.unleash.notes import Note
from portable_flags import definitions

BERLIN = Segment(key="berlin", id=3, constraints=(Constraint(attribute="city", operator="in", values=("Berlin",)),))
UNUSED = Segment(key="unused", id=4, targeting_keys=("ada",))


def world(*flags: Flag) -> Snapshot:
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=7,
        flags={flag.key: flag for flag in flags},
        segments={"berlin": BERLIN, "unused": UNUSED},
    )


def test_everything_is_in_lists_of_its_own() -> None:
    rule = Rule(id="r1", description="A few", segments=("berlin",), rollout=Rollout(percentage=25.0, by="company"))
    snapshot = world(
        Flag(key="checkout", enabled=True, rules=(rule,), prerequisites=(Prerequisite(flag="search"),)),
        Flag(key="search"),
    )
    found = exported(snapshot, definitions(snapshot), frozenset())
    document = json.loads(msgspec.json.encode(found.document))
    assert [(one["name"], one["type"], one["project"]) for one in document["features"]] == [
        ("checkout", "operational", "shop"),
        ("search", "operational", "shop"),
    ]
    [checkout, _] = document["featureStrategies"]
    assert (checkout["id"], checkout["title"], checkout["featureName"]) == ("r1", "A few", "checkout")
    assert checkout["parameters"] == {"rollout": "25", "stickiness": "company", "groupId": "checkout"}
    assert checkout["segments"] == [3]
    assert [(one["featureName"], one["enabled"]) for one in document["featureEnvironments"]] == [
        ("checkout", True),
        ("search", False),
    ]
    assert document["contextFields"] == [{"name": "city", "stickiness": False}, {"name": "company", "stickiness": True}]
    # Unleash's import refuses a document with more about a segment than this.
    assert document["segments"] == [{"id": 3, "name": "berlin"}]
    assert found.segments is not None
    [berlin] = found.segments["segments"]
    assert (berlin["name"], berlin["constraints"][0]["contextName"]) == ("berlin", "city")
    assert document["dependencies"] == [
        {"feature": "checkout", "dependencies": [{"feature": "search", "enabled": True}]}
    ]
    assert document["featureTags"][:2] == [
        {"featureName": "checkout", "tagType": "team", "tagValue": "shop"},
        {"featureName": "checkout", "tagType": "simple", "tagValue": "old"},
    ]
    assert document["tagTypes"] == [{"name": "team"}, {"name": "simple"}]


def test_what_unleash_cannot_say_is_left_out_with_all_that_needs_it() -> None:
    fraction = Flag(key="fraction", enabled=True, rules=(Rule(id="r", rollout=Rollout(percentage=0.5)),))
    child = Flag(key="child", enabled=True, prerequisites=(Prerequisite(flag="fraction"),))
    snapshot = world(fraction, child, Flag(key="fine"))
    found = exported(snapshot, definitions(snapshot), frozenset())
    assert [one["name"] for one in found.document["features"]] == ["fine"]
    assert set(found.refused) == {"fraction", "child"}
    assert [note.path for note in found.refused["fraction"]] == ["rules[0].rollout.percentage"]
    assert all(isinstance(note, Note) for note in found.refused["child"])


@pytest.mark.parametrize(
    ("shares", "weights", "is_redrawn"),
    [
        ({"blue": 250, "red": 750}, [250, 750], False),
        ({"red": 750, "blue": 250}, [250, 750], True),  # kept by name
        ({"blue": 1, "red": 2}, [333, 667], True),
    ],
)
def test_shares_are_thousandths_by_name(shares: dict[str, int], weights: list[int], is_redrawn: bool) -> None:
    split = Split(variants=tuple(WeightedVariant(variant=name, weight=weight) for name, weight in shares.items()))
    variants = (Variant(name="red", value="#f00"), Variant(name="blue", value="#00f"), Variant(name="off"))
    rules = (Rule(id="r", split=split),)
    snapshot = world(Flag(key="colour", enabled=True, type="string", variants=variants, off_variant="off", rules=rules))
    assert bool(exported(snapshot, definitions(snapshot), frozenset()).refused) is is_redrawn
    found = exported(snapshot, definitions(snapshot), frozenset({"redrawn"}))
    [environment] = found.document["featureEnvironments"]
    kept = [(one["name"], one["weight"], one["weightType"]) for one in environment["variants"]]
    assert kept == [("blue", weights[0], "fix"), ("red", weights[1], "variable")]
