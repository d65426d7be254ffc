"""Our flags and segments as Unleash's SDKs are sent them: exactly where they can be told, and else fewer let in."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from fader.model import (
    Change,
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
from fader.revisions import affected_flags, apply_change
from fader_server.unleash.dialects import Dialect, dialect_of, features_in
from fader_server.unleash.outward import OutwardState, outward, outward_after
from fader_server.unleash.portable_patterns import portable_pattern

PRO = Constraint(attribute="plan", operator="in", values=("pro",))
BERLIN = Constraint(attribute="city", operator="in", values=("Berlin",))
LATER = Constraint(attribute="ordered_at", operator="after", values=("2026-11-23T10:00:00Z",))
"""Asks for a time that Unleash's SDKs cannot compare."""
COLOURS = (Variant(name="red", value="#f00"), Variant(name="blue", value="#00f"), Variant(name="none"))
HALF = Rollout(percentage=50, by="targeting_key")


def flag(*rules: Rule, key: str = "checkout", **fields: Any) -> Flag:
    return Flag(key=key, enabled=True, rules=rules, **fields)


def coloured(*rules: Rule, key: str = "theme") -> Flag:
    return flag(*rules, key=key, type="string", variants=COLOURS, off_variant="none")


def split(*shares: tuple[str, int], by: str = "default", salt: str = "") -> Split:
    weighted = tuple(WeightedVariant(variant=name, weight=weight) for name, weight in shares)
    return Split(variants=weighted, by=by, salt=salt)


def snapshot(*flags: Flag, segments: tuple[Segment, ...] = ()) -> Snapshot:
    return Snapshot(
        project="shop",
        environment="production",
        epoch="00000000",
        revision=7,
        flags={flag.key: flag for flag in flags},
        segments={segment.key: segment for segment in segments},
    )


def seen(*flags: Flag, segments: tuple[Segment, ...] = ()) -> OutwardState:
    return outward(snapshot(*flags, segments=segments))


def as_json(sent: object) -> Any:
    """What arrives of something that is sent."""
    return msgspec.json.decode(msgspec.json.encode(sent))


def only(*rules: Rule, segments: tuple[Segment, ...] = ()) -> dict[str, Any]:
    """One boolean flag with these rules, as JSON has it."""
    feature: dict[str, Any] = as_json(seen(flag(*rules), segments=segments).features["checkout"])
    return feature


def asked_by(feature: dict[str, Any]) -> list[list[str]]:
    """What each strategy asks, in short: ``!plan IN pro`` where it is inverted."""
    return [
        [
            f"{'!' if asked['inverted'] else ''}{asked['contextName']} {asked['operator']} "
            + ",".join(asked["values"] if "values" in asked else [asked["value"]])
            for asked in strategy["constraints"]
        ]
        for strategy in feature["strategies"]
    ]


def notes_of(state: OutwardState, key: str = "checkout") -> list[tuple[str, str]]:
    return [(note.path, note.text) for note in state.notes.get(key, ())]


def test_a_rollout_is_one_strategy_with_texts_for_parameters() -> None:
    assert only(Rule(rollout=Rollout(percentage=25, by="session_id", salt="spring"))) == {
        "name": "checkout",
        "type": "release",
        "enabled": True,
        "project": "shop",
        "stale": False,
        "impressionData": False,
        "strategies": [
            {
                "name": "flexibleRollout",
                "parameters": {"rollout": "25", "stickiness": "sessionId", "groupId": "spring"},
                "constraints": [],
                "segments": [],
                "variants": [],
            }
        ],
        "variants": [],
    }


def test_a_flag_without_rules_lets_everybody_in_by_a_strategy() -> None:
    [strategy] = only()["strategies"]
    assert strategy["parameters"] == {"rollout": "100", "stickiness": "default", "groupId": "checkout"}


@pytest.mark.parametrize(
    ("percentage", "rollout", "note"),
    [
        (12.5, "12", "Unleash SDKs let 12 % in by this rule: they compare whole percents, and 12.5 % is rounded down."),
        (
            0.5,
            "0",
            "Unleash SDKs let nobody in by this rule: they compare whole percents, and 0.5 % is rounded down to 0 %.",
        ),
    ],
)
def test_fractions_are_rounded_down_and_noted(percentage: float, rollout: str, note: str) -> None:
    state = seen(flag(Rule(rollout=Rollout(percentage=percentage))))
    assert state.features["checkout"].strategies[0].parameters.rollout == rollout
    assert notes_of(state) == [("rules[0].rollout.percentage", note)]


@pytest.mark.parametrize(
    ("constraint", "asked"),
    [
        (Constraint(attribute="targeting_key", operator="not_in", values=("7",)), [["!userId IN 7"]]),
        (Constraint(attribute="age", operator="=", values=(18, 21.0)), [["age NUM_EQ 18"], ["age NUM_EQ 21"]]),
        (
            Constraint(attribute="age", operator="=", values=(18, 21), inverted=True),
            [["!age NUM_EQ 18", "!age NUM_EQ 21"]],
        ),
        (Constraint(attribute="age", operator="<", values=(".5",)), [["age NUM_LT 0.5"]]),
        (Constraint(attribute="v", operator="semver_ge", values=("1.2.0+build",)), [["v SEMVER_GTE 1.2.0"]]),
        (Constraint(attribute="ip", operator="in_cidr", values=("10.1.2.3/8",)), [["ip IN_CIDR 10.0.0.0/8"]]),
        (Constraint(attribute="mail", operator="matches", values=(r"^\w+@",)), [["mail REGEX ^[0-9A-Za-z_]+@"]]),
        (Constraint(attribute="plan", operator="exists", inverted=True), [["!plan REGEX ^"]]),
        (
            Constraint(attribute="current_time", operator="after", values=("2026-11-23T11:00:00+01:00",)),
            [["currentTime DATE_AFTER 2026-11-23T10:00:00.000Z"]],
        ),
    ],
)
def test_a_constraint_is_written_as_all_engines_read_it(constraint: Constraint, asked: list[list[str]]) -> None:
    assert asked_by(only(Rule(constraints=(constraint,)))) == asked
    assert notes_of(seen(flag(Rule(constraints=(constraint,))))) == []


@pytest.mark.parametrize(
    ("pattern", "sent"),
    [
        (r"^\d{2,3}-[\w.]+$", "^[0-9]{2,3}-[0-9A-Za-z_.]+$"),
        (r"a\/b\.", r"a/b\."),
        (r"(?i)\bcat", r"(?i)\bcat"),
        (r"\b(cat|dog)", None),
        (r"\B", None),
        ("a(?i)*", None),
        ("a{101}", None),
        (r"\pL{2}", None),
        ("[a&&b]", None),
        ("[[a]]", None),
        (r"\Qa.b\E", None),
        (r"[\D]", None),
        ("a{", None),
    ],
)
def test_a_pattern_is_sent_where_every_engine_takes_it_alike(pattern: str, sent: str | None) -> None:
    portable = portable_pattern(pattern)
    assert (None if portable is None else portable.text) == sent


def test_what_cannot_be_asked_lets_nobody_in_and_leaves_no_empty_list() -> None:
    state = seen(flag(Rule(constraints=(LATER,))))
    [strategy] = state.features["checkout"].strategies
    assert (state.features["checkout"].enabled, strategy.parameters.rollout) == (False, "0")
    assert notes_of(state) == [
        (
            "rules[0].constraints[0].attribute",
            "Unleash SDKs compare no times but the current one, so this rule lets nobody in.",
        )
    ]


def test_values_that_engines_read_differently_are_left_out() -> None:
    constraint = Constraint(attribute="plan", operator="in", values=("pro", " free "))
    state = seen(flag(Rule(constraints=(constraint,))))
    assert asked_by(as_json(state.features["checkout"])) == [["plan IN pro"]]
    assert notes_of(state) == [
        (
            "rules[0].constraints[0].values[1]",
            "Unleash SDKs cannot be relied on to compare with ' free ', so they let fewer in.",
        )
    ]


def test_a_rule_that_serves_off_is_taken_out_of_later_rules() -> None:
    blocked = only(Rule(constraints=(PRO, BERLIN), variant="off"), Rule(rollout=HALF))
    assert asked_by(blocked) == [["!plan IN pro"], ["!city IN Berlin"]]


def test_whoever_draws_by_lot_draws_once() -> None:
    blocked = only(Rule(constraints=(PRO, BERLIN), variant="off"), Rule(rollout=Rollout(percentage=50)))
    assert asked_by(blocked) == [["!plan IN pro"], ["!city IN Berlin", "plan IN pro"]]


def test_nothing_comes_after_a_rule_that_turns_everybody_off() -> None:
    state = seen(flag(Rule(variant="off"), Rule(constraints=(PRO,))))
    assert not state.features["checkout"].enabled
    assert notes_of(state) == []


def test_a_share_that_is_turned_off_keeps_all_off_whom_the_rule_means() -> None:
    state = seen(flag(Rule(constraints=(PRO,), rollout=HALF, variant="off"), Rule()))
    assert asked_by(as_json(state.features["checkout"])) == [["!plan IN pro"]]
    assert [path for path, _ in notes_of(state)] == ["rules[0].rollout"]


def test_a_variant_travels_with_its_value_as_text() -> None:
    state = seen(coloured(Rule(rollout=HALF, variant="blue")))
    assert as_json(state.features["theme"].variants) == [
        {
            "name": "blue",
            "weight": 1000,
            "weightType": "variable",
            "stickiness": "userId",
            "payload": {"type": "string", "value": "#00f"},
        }
    ]


def test_a_split_is_shared_out_by_the_stickiness_of_its_strategy() -> None:
    state = seen(coloured(Rule(split=split(("red", 1), ("blue", 3), by="session_id", salt="s"))))
    sticky, drawn = state.features["theme"].strategies
    assert [(each.name, each.weight, each.stickiness) for each in sticky.variants] == [
        ("red", 1, "sessionId"),
        ("blue", 3, "sessionId"),
    ]
    assert (sticky.parameters.stickiness, sticky.parameters.group_id) == ("sessionId", "s")
    assert drawn.parameters.stickiness == "random"
    assert notes_of(state, "theme") == []


def test_a_split_that_is_salted_as_the_feature_becomes_the_features() -> None:
    shares = split(("red", 1), ("blue", 3), by="session_id")
    sent = as_json(
        seen(coloured(Rule(id="a", constraints=(PRO,), split=shares), Rule(id="b", split=shares))).features["theme"]
    )

    assert [variant["name"] for variant in sent["variants"]] == ["red", "blue"]
    assert [strategy["variants"] for strategy in sent["strategies"]] == [[], []]


def test_a_feature_names_what_its_last_rule_serves_where_it_has_no_split() -> None:
    rules = (Rule(id="a", constraints=(PRO,), variant="red"), Rule(id="b", variant="blue"))
    sent = as_json(seen(coloured(*rules)).features["theme"])

    assert [variant["name"] for variant in sent["variants"]] == ["blue"]
    assert [[variant["name"] for variant in strategy["variants"]] for strategy in sent["strategies"]] == [["red"], []]


def test_a_feature_names_what_no_strategy_can_rather_than_what_one_could() -> None:
    by_user = split(("red", 1), ("blue", 3), by="targeting_key")
    by_session = split(("red", 1), ("blue", 1), by="session_id")
    either = (Rule(id="a", constraints=(PRO,), split=by_user), Rule(id="b", rollout=HALF, split=by_session))
    state = seen(coloured(*either))

    assert state.notes == {}
    assert [variant.stickiness for variant in state.features["theme"].variants] == ["sessionId", "sessionId"]


def test_a_feature_names_no_variants_where_one_of_its_strategies_gives_none() -> None:
    valueless = (*COLOURS, Variant(name="on"))
    rules = (Rule(id="a", constraints=(PRO,), split=split(("red", 1), ("blue", 3))), Rule(id="b", variant="on"))
    flag_with_both = Flag(key="theme", enabled=True, type="string", variants=valueless, off_variant="none", rules=rules)
    sent = as_json(seen(flag_with_both).features["theme"])

    assert sent["variants"] == []
    assert [len(strategy["variants"]) for strategy in sent["strategies"]] == [2, 0]


def test_whom_nobody_is_let_in_by_is_left_out_beside_others() -> None:
    nobody = Rule(id="a", rollout=Rollout(percentage=0, by="targeting_key"))

    assert [strategy["parameters"]["rollout"] for strategy in only(nobody, Rule(id="b"))["strategies"]] == ["100"]
    assert [strategy["parameters"]["rollout"] for strategy in only(nobody)["strategies"]] == ["0"]


@pytest.mark.parametrize(
    ("networks", "inverted", "rollout", "name"),
    [
        (("10.1.2.3/8", "192.168.0.7"), False, Rollout(), "remoteAddress"),
        (("10.0.0.0/8", "2001:db8::/32"), False, Rollout(), "flexibleRollout"),
        (("10.0.0.0/8",), True, Rollout(), "flexibleRollout"),
        (("10.0.0.0/8",), False, HALF, "flexibleRollout"),
    ],
    ids=["of IPv4", "of IPv6", "inverted", "a share"],
)
def test_networks_are_asked_as_old_sdks_know_it_where_they_can(
    networks: tuple[str, ...], inverted: bool, rollout: Rollout, name: str
) -> None:
    listed = Constraint(attribute="remote_address", operator="in_cidr", values=networks, inverted=inverted)
    (strategy,) = only(Rule(id="a", constraints=(listed, PRO), rollout=rollout))["strategies"]

    assert strategy["name"] == name
    if name == "remoteAddress":
        assert strategy["parameters"]["IPs"] == "10.0.0.0/8,192.168.0.7/32"
        assert [asked["contextName"] for asked in strategy["constraints"]] == ["plan"]
    else:
        assert [asked["operator"] for asked in strategy["constraints"]] == ["IN_CIDR", "IN"]


def test_a_split_by_something_else_than_the_rollout_becomes_the_features() -> None:
    state = seen(coloured(Rule(rollout=HALF, split=split(("red", 1), ("blue", 3), by="session_id"))))
    assert [each.stickiness for each in state.features["theme"].variants] == ["sessionId"] * 2
    assert state.features["theme"].strategies[0].variants == ()


def test_a_split_that_cannot_be_said_lets_nobody_in() -> None:
    state = seen(coloured(Rule(rollout=HALF, split=split(("red", 1), ("blue", 3), salt="other"))))
    assert not state.features["theme"].enabled
    assert [path for path, _ in notes_of(state, "theme")] == ["rules[0].split"]


def test_a_split_with_off_in_it_lets_nobody_in() -> None:
    state = seen(coloured(Rule(split=split(("red", 1), ("none", 1)))))
    assert not state.features["theme"].enabled


def test_weights_that_would_have_all_flags_refused_are_not_sent() -> None:
    state = seen(coloured(Rule(split=split(("red", 2**31 - 1), ("blue", 1)))))
    assert not state.features["theme"].enabled


@pytest.mark.parametrize(
    ("segment", "sent", "asked"),
    [
        (Segment(key="staff", id=4, targeting_keys=("7", "8")), ["userId IN 7,8"], [[4]]),
        (Segment(key="staff", id=4, constraints=(PRO, BERLIN)), ["plan IN pro", "city IN Berlin"], [[4]]),
        (Segment(key="staff", id=4, targeting_keys=("7",), constraints=(PRO,)), ["userId IN 7"], [[4], []]),
    ],
)
def test_a_segment_is_sent_by_its_number(segment: Segment, sent: list[str], asked: list[list[int]]) -> None:
    state = seen(flag(Rule(segments=("staff",))), segments=(segment,))
    assert asked_by({"strategies": [as_json(state.segments["staff"])]}) == [sent]
    assert [list(strategy.segments or ()) for strategy in state.features["checkout"].strategies] == asked


def test_a_segment_without_members_has_none() -> None:
    state = seen(flag(Rule(segments=("staff",))), segments=(Segment(key="staff", id=4),))
    assert (state.segments, state.features["checkout"].enabled) == ({}, False)


def test_long_lists_are_not_sent() -> None:
    members = MemberList(list="l1", version=1, count=1_000_000, digest="0" * 16)
    state = seen(flag(Rule(segments=("all",))), segments=(Segment(key="all", id=4, members=members),))
    assert notes_of(state) == [
        (
            "rules[0].segments[0]",
            "Unleash SDKs are not sent the 1,000,000 keys of a long list (segment all), so this rule lets nobody in.",
        )
    ]


def test_old_sdks_are_sent_what_segments_ask_instead_of_their_numbers() -> None:
    state = seen(flag(Rule(segments=("staff",))), segments=(Segment(key="staff", id=4, constraints=(PRO,)),))
    [feature] = features_in(state, Dialect.INLINED)
    sent = as_json(feature)
    assert asked_by(sent) == [["plan IN pro"]]
    assert "segments" not in sent["strategies"][0]


@pytest.mark.parametrize(
    ("header", "dialect"),
    [
        (None, Dialect.INLINED),
        ("nonsense", Dialect.INLINED),
        ("3.9.0", Dialect.INLINED),
        ("4.2.0", Dialect.FULL),
        ("10.0.0", Dialect.FULL),
    ],
)
def test_the_dialect_is_that_of_the_specification_that_the_sdk_keeps_to(header: str | None, dialect: Dialect) -> None:
    assert dialect_of(header) is dialect


def needing(*prerequisites: Prerequisite, key: str) -> Flag:
    return flag(Rule(constraints=(PRO,)), key=key, prerequisites=prerequisites)


def test_a_prerequisite_is_a_dependency() -> None:
    state = seen(coloured(Rule(variant="red")), needing(Prerequisite(flag="theme", variants=("red",)), key="child"))
    assert as_json(state.features["child"].dependencies) == [{"feature": "theme", "enabled": True, "variants": ["red"]}]


def test_a_chain_of_prerequisites_is_off() -> None:
    chain = (
        needing(key="one"),
        needing(Prerequisite(flag="one"), key="two"),
        needing(Prerequisite(flag="two"), key="three"),
    )
    state = seen(*chain)
    assert [feature.enabled for feature in state.features.values()] == [True, False, True]
    assert notes_of(state, "three") == [
        (
            "prerequisites[0]",
            "Unleash SDKs follow prerequisites one level only, and two has one itself: they keep the flag off.",
        )
    ]


def test_a_chain_whose_beginning_is_the_same_for_everybody_goes_out() -> None:
    state = seen(
        flag(key="one"), needing(Prerequisite(flag="one"), key="two"), needing(Prerequisite(flag="two"), key="three")
    )
    assert as_json(state.features["three"].dependencies) == [{"feature": "two", "enabled": True}]
    assert state.features["two"].dependencies is UNSET
    assert state.notes == {}


def test_a_flag_that_is_seen_otherwise_cannot_be_asked_to_be_off() -> None:
    half = flag(Rule(rollout=Rollout(percentage=0.5)), key="half")
    state = seen(half, needing(Prerequisite(flag="half", enabled=False), key="child"))
    assert not state.features["child"].enabled


@pytest.mark.parametrize("flags", [(), (needing(Prerequisite(flag="child"), key="missing"),)], ids=["none", "a loop"])
def test_a_prerequisite_that_never_holds_turns_the_flag_off(flags: tuple[Flag, ...]) -> None:
    state = seen(needing(Prerequisite(flag="missing"), key="child"), *flags)
    assert not state.features["child"].enabled
    assert notes_of(state, "child") == []


STAFF = Segment(key="staff", id=4, constraints=(PRO,))
BEFORE = snapshot(
    flag(key="one"),
    needing(Prerequisite(flag="one"), key="two"),
    needing(Prerequisite(flag="two"), key="three"),
    flag(Rule(segments=("staff",)), key="inside"),
    flag(Rule(rollout=Rollout(percentage=0.5)), key="alone"),
    segments=(STAFF,),
)


@pytest.mark.parametrize(
    ("change", "untouched"),
    [
        ({"flags": {"one": needing(key="one")}}, {"inside", "alone"}),
        ({"flags": {"three": None}}, {"inside", "alone"}),
        ({"flags": {"alone": flag(key="alone")}}, {"one", "two", "three", "inside"}),
        ({"flags": {"new": flag(key="new")}}, {"one", "two", "three", "inside", "alone"}),
        ({"segments": {"staff": Segment(key="staff", id=4, targeting_keys=("7",))}}, {"one", "two", "three", "alone"}),
        ({"segments": {"staff": None}}, {"one", "two", "three", "alone"}),
    ],
)
def test_a_change_makes_the_same_of_everything_and_anew_only_what_it_affects(
    change: dict[str, Any], untouched: set[str]
) -> None:
    before = outward(BEFORE)
    after = apply_change(BEFORE, Change(epoch="00000000", since=7, revision=8, **change))

    state = outward_after(before, after, affected_flags(BEFORE, after))

    assert as_json(state) == as_json(outward(after))
    assert list(state.features) == sorted(state.features)
    assert {key for key, feature in state.features.items() if feature is before.features.get(key)} >= untouched
