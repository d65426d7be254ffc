"""The document that Unleash's project page imports."""

import json

import msgspec

from fader.model import Constraint, Flag, Prerequisite, Rollout, Rule, Segment, Snapshot
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
    document = json.loads(msgspec.json.encode(exported(snapshot, definitions(snapshot), frozenset()).document))
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
    assert [segment["name"] for segment in document["segments"]] == ["berlin"]
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
