"""What the translation of Unleash's format decides where its specification is silent, and what it tells about it."""

import random
from typing import Any

import msgspec
import pytest

from fader.context import Context
from fader.model import Flag, Prerequisite, Rollout, Segment, Snapshot
from fader.snapshot import FlagSet
from fader_server.unleash.answers import variant_answer
from fader_server.unleash.constraints import ALWAYS, NEVER
from fader_server.unleash.contexts import context_attributes
from fader_server.unleash.model import read_document
from fader_server.unleash.notes import Note
from fader_server.unleash.state import state_of
from fader_server.unleash.translation import TranslatedFlag, Translation, translate


def translation(*features: dict[str, Any], segments: tuple[dict[str, Any], ...] = ()) -> Translation:
    return translate(state_of(read_document({"features": features, "segments": segments})))


def feature(name: str = "flag", **fields: Any) -> dict[str, Any]:
    return {"name": name, "enabled": True, **fields}


def strategy(name: str = "default", **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def rollout_of(percentage: Any, stickiness: str = "default", **fields: Any) -> dict[str, Any]:
    parameters = {"rollout": percentage, "stickiness": stickiness, "groupId": "group"}
    return strategy("flexibleRollout", parameters=parameters, **fields)


def constraint(operator: str, *values: Any, name: str = "plan", **fields: Any) -> dict[str, Any]:
    return {"contextName": name, "operator": operator, "values": values, **fields}


def evaluator(translated: Translation) -> FlagSet:
    snapshot = Snapshot(
        project="default",
        environment="production",
        epoch="00000000",
        revision=1,
        flags={key: found.flag for key, found in translated.flags.items()},
        segments={key: found.segment for key, found in translated.segments.items()},
    )
    # What is stored and sent must mean the same as what was translated.
    return FlagSet(msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot))


def is_on(translated: Translation, context: dict[str, Any] | None = None, flag: str = "flag") -> bool:
    attributes = context_attributes(context or {})
    key = attributes.pop("targeting_key", None)
    return evaluator(translated).details(flag, Context(key, **attributes), None).enabled


def given(translated: Translation, context: dict[str, Any], flag: str = "flag") -> Any:
    """What Unleash would answer to ``getVariant``."""
    attributes = context_attributes(context)
    key = attributes.pop("targeting_key", None)
    details = evaluator(translated).details(flag, Context(key, **attributes), None)
    return msgspec.to_builtins(variant_answer(translated.flags[flag], details.enabled, details.variant))


def paths(translated: Translation, flag: str = "flag") -> list[str]:
    return [note.path for note in translated.flags[flag].notes]


# Strategies


def test_without_strategies_a_flag_is_on_for_everyone() -> None:
    translated = translation(feature(strategies=[]))
    assert translated.flags["flag"] == TranslatedFlag(Flag(key="flag", enabled=True))
    assert is_on(translated)


def test_a_toggle_that_is_off_stays_off_and_keeps_its_rules() -> None:
    translated = translation(feature(enabled=False, strategies=[rollout_of("50")]))
    flag = translated.flags["flag"].flag
    assert not flag.enabled
    assert flag.rules[0].rollout == Rollout(percentage=50.0, salt="group")


@pytest.mark.parametrize("unusable", [strategy("ourOwn"), strategy(disabled=True)], ids=["unknown", "disabled"])
def test_a_strategy_that_cannot_be_used_lets_nobody_in_and_never_everybody(unusable: dict[str, Any]) -> None:
    translated = translation(feature(strategies=[unusable]))
    assert translated.flags["flag"].flag.rules[0].constraints == (NEVER,)
    assert not is_on(translated, {"userId": "7"})
    assert len(paths(translated)) == 1


def test_a_strategy_that_cannot_be_used_does_not_stop_the_others() -> None:
    assert is_on(translation(feature(strategies=[strategy("ourOwn"), strategy()])))


@pytest.mark.parametrize(
    ("written", "percentage", "is_noted"),
    [
        ("0", 0.0, False),
        ("25", 25.0, False),
        ("100", 100.0, False),
        (25, 25.0, False),
        ("1.5", 1.0, True),
        ("100.0", 100.0, True),
        ("255", 100.0, True),
        ("-1", 0.0, True),
        ("", 0.0, True),
        ("1e999", 0.0, True),
        (None, 0.0, True),
        ("half", 0.0, True),
    ],
)
def test_percentages_are_whole_ones(written: Any, percentage: float, is_noted: bool) -> None:
    translated = translation(feature(strategies=[rollout_of(written)]))
    assert translated.flags["flag"].flag.rules[0].rollout.percentage == percentage
    assert paths(translated) == ["strategies[0].parameters.rollout"] * is_noted


@pytest.mark.parametrize(
    ("legacy", "expected"),
    [
        ("gradualRolloutUserId", Rollout(percentage=30.0, by="targeting_key", salt="group")),
        ("gradualRolloutSessionId", Rollout(percentage=30.0, by="session_id", salt="group")),
        ("gradualRolloutRandom", Rollout(percentage=30.0, by="random", salt="group")),
    ],
)
def test_legacy_rollouts_hash_what_their_names_say(legacy: str, expected: Rollout) -> None:
    legacy_rollout = strategy(legacy, parameters={"percentage": "30", "groupId": "group"})
    assert translation(feature(strategies=[legacy_rollout])).flags["flag"].flag.rules[0].rollout == expected


@pytest.mark.parametrize(
    ("stickiness", "by"),
    [
        ("userId", "targeting_key"),
        ("sessionId", "session_id"),
        ("random", "random"),
        ("tenant", "tenant"),
        ("", "default"),
    ],
)
def test_stickiness_says_what_is_hashed(stickiness: str, by: str) -> None:
    translated = translation(feature(strategies=[rollout_of("50", stickiness)]))
    assert translated.flags["flag"].flag.rules[0].rollout.by == by


def test_host_names_are_asked_of_an_attribute_and_noted() -> None:
    by_host = strategy("applicationHostname", parameters={"hostNames": "Web-1, web-2,"})
    translated = translation(feature(strategies=[by_host]))
    assert is_on(translated, {"properties": {"hostname": "web-1"}})
    assert not is_on(translated, {"properties": {"hostname": "web-3"}})
    assert not is_on(translated)
    assert paths(translated) == ["strategies[0].parameters"]


def test_addresses_that_cannot_be_read_are_skipped_and_noted() -> None:
    by_address = strategy("remoteAddress", parameters={"IPs": "10.0.0.0/8, 127.invalid, 2001:db8::1"})
    translated = translation(feature(strategies=[by_address]))
    assert is_on(translated, {"remoteAddress": "10.1.2.3"})
    assert is_on(translated, {"remoteAddress": "2001:db8::1"})
    assert [(note.path, note.severity) for note in translated.flags["flag"].notes] == [
        ("strategies[0].parameters.IPs[1]", "remark"),
        ("strategies[0].parameters.IPs", "disputed"),  # the IPv6 address
    ]


@pytest.mark.parametrize("addresses", ["", "127.invalid"])
def test_without_an_address_that_can_be_read_nobody_is_let_in(addresses: str) -> None:
    by_address = strategy("remoteAddress", parameters={"IPs": addresses})
    assert not is_on(translation(feature(strategies=[by_address])), {"remoteAddress": "127.0.0.1"})


# Constraints


def test_an_unknown_operator_never_holds_not_even_inverted() -> None:
    unknown = constraint("FUTURE", "a", inverted=True)
    translated = translation(feature(strategies=[strategy(constraints=[unknown])]))
    assert not is_on(translated, {"properties": {"plan": "b"}})
    assert translated.flags["flag"].notes == (
        Note(
            "strategies[0].constraints[0].operator",
            "The operator 'FUTURE' is not known, so the constraint never holds.",
        ),
    )


@pytest.mark.parametrize(
    ("operator", "value"),
    [("NUM_GT", "many"), ("DATE_AFTER", "tomorrow"), ("SEMVER_GT", "v1.0.0"), ("REGEX", "(a"), ("NUM_EQ", None)],
)
def test_a_value_that_cannot_be_read_makes_the_constraint_false_and_inverted_true(operator: str, value: Any) -> None:
    for inverted in (False, True):
        unreadable = constraint(operator, name="currentTime", value=value, inverted=inverted)
        translated = translation(feature(strategies=[strategy(constraints=[unreadable])]))
        assert is_on(translated, {"currentTime": "2026-01-01T00:00:00Z"}) is inverted
        assert paths(translated) == ["strategies[0].constraints[0].value"]


@pytest.mark.parametrize("operator", ["IN", "STR_STARTS_WITH", "STR_CONTAINS", "STR_ENDS_WITH", "IN_CIDR"])
def test_without_values_a_constraint_is_false_and_inverted_true(operator: str) -> None:
    for inverted in (False, True):
        empty = constraint(operator, inverted=inverted)
        translated = translation(feature(strategies=[strategy(constraints=[empty])]))
        assert is_on(translated) is inverted
        is_noted = inverted and operator != "IN"
        assert ("strategies[0].constraints[0].values" in paths(translated)) is is_noted


def test_values_that_are_no_text_are_compared_as_javascript_writes_them() -> None:
    listed = constraint("IN", 7, 2.0, True)
    translated = translation(feature(strategies=[strategy(constraints=[listed])]))
    assert [is_on(translated, {"properties": {"plan": text}}) for text in ("7", "2", "true", "True")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "value", ["2026-03-01", "2026-03-01T00:00:00", "2026-03-01T00:00:00+0000", "2026-03-01 00:00Z"]
)
def test_times_that_only_some_engines_read_are_read_and_noted(value: str) -> None:
    after = constraint("DATE_AFTER", name="currentTime", value=value)
    translated = translation(feature(strategies=[strategy(constraints=[after])]))
    assert is_on(translated, {"currentTime": "2026-03-01T00:00:01Z"})
    assert not is_on(translated, {"currentTime": "2026-03-01T00:00:00Z"})
    assert paths(translated) == ["strategies[0].constraints[0].value"]


def test_what_engines_disagree_about_is_noted() -> None:
    strategies = [
        strategy(
            constraints=[constraint("IN", " a ", "b", ""), constraint("DATE_AFTER", value="2026-03-01T00:00:00Z")]
        ),
        strategy(constraints=[constraint("IN", "shop", name="app")]),
        strategy("flexibleRollout", parameters={"rollout": "10", "groupId": 'a"b'}),
    ]
    assert paths(translation(feature(strategies=strategies))) == [
        "strategies[0].constraints[0].values[0]",
        "strategies[0].constraints[0].values[2]",
        "strategies[0].constraints[1].contextName",
        "strategies[1].constraints[0].contextName",
        "strategies[2].parameters.groupId",
    ]


# Segments


def test_segments_keep_their_numbers_and_get_keys_from_their_names() -> None:
    named = [(3, "Beta users"), (1, "Beta users"), (2, None), (4, "…"), (5, "ok~1")]
    segments = tuple({"id": number, "name": name, "constraints": [constraint("IN", "a")]} for number, name in named)
    translated = translation(segments=segments)
    assert {found.segment.id: key for key, found in translated.segments.items()} == {
        1: "Beta-users",
        2: "segment-2",
        3: "Beta-users-3",
        4: "segment-4",
        5: "ok~1",
    }


def test_a_segment_that_asks_nothing_holds_for_everybody() -> None:
    translated = translation(feature(strategies=[strategy(segments=[7])]), segments=({"id": 7},))
    assert translated.segments["segment-7"].segment == Segment(key="segment-7", id=7, constraints=(ALWAYS,))
    assert is_on(translated)


def test_a_segment_that_does_not_exist_lets_nobody_in() -> None:
    translated = translation(feature(strategies=[strategy(segments=[404])]))
    assert not is_on(translated)
    assert paths(translated) == ["strategies[0].segments[0]"]


# Variants


def variant(name: str, weight: Any = 1, kind: str | None = None, text: Any = "", **fields: Any) -> dict[str, Any]:
    payload = {} if kind is None else {"payload": {"type": kind, "value": text}}
    return {"name": name, "weight": weight, **payload, **fields}


@pytest.mark.parametrize(
    ("payloads", "kind", "values"),
    [
        ([("string", "a"), ("csv", "a,b")], "string", ["a", "a,b"]),
        ([("number", "1"), ("number", "1.5")], "number", [1, 1.5]),
        ([("json", '{"a": [1]}'), ("json", "7")], "object", [{"a": [1]}, 7]),
        ([("number", "1"), ("string", "one")], "object", [1, "one"]),
        ([("number", "one")], "string", ["one"]),
        ([("json", "{")], "string", ["{"]),
        ([("future", "x")], "string", ["x"]),
        ([(None, "")], "string", [None]),
    ],
)
def test_values_have_the_type_that_all_payloads_share(payloads: Any, kind: str, values: list[Any]) -> None:
    variants = [variant(f"v{number}", 1, *payload) for number, payload in enumerate(payloads)]
    flag = translation(feature(variants=variants)).flags["flag"].flag
    assert flag.type == kind
    assert [found.value for found in flag.variants[: len(values)]] == values
    assert flag.variants[len(values) :] == flag.variants[-1:]
    assert (flag.variants[-1].name, flag.variants[-1].value) == (flag.off_variant, None)


def test_the_payload_is_given_back_as_it_was_written() -> None:
    translated = translation(feature(variants=[variant("a", 1, "number", "1.50")]))
    assert translated.flags["flag"].flag.variants[0].value == 1.5
    assert given(translated, {}) == {
        "name": "a",
        "enabled": True,
        "feature_enabled": True,
        "payload": {"type": "number", "value": "1.50"},
    }


def test_variants_of_one_name_with_two_payloads_stay_apart() -> None:
    plans = [
        rollout_of("100", constraints=[constraint("IN", plan)], variants=[variant("a", 1, "string", plan)])
        for plan in ("free", "pro")
    ]
    translated = translation(feature(strategies=plans))
    assert [found.name for found in translated.flags["flag"].flag.variants] == ["a", "a-2", "off"]
    for plan in ("free", "pro"):
        answer = given(translated, {"properties": {"plan": plan}})
        assert (answer["name"], answer["payload"]["value"]) == ("a", plan)


def test_variants_that_are_called_on_off_or_disabled_do_not_collide_with_ours() -> None:
    names = ("on", "off", "disabled")
    plans = [rollout_of("100", constraints=[constraint("IN", n)], variants=[variant(n)]) for n in names]
    translated = translation(feature(strategies=[*plans, strategy(constraints=[constraint("IN", "free")])]))
    flag = translated.flags["flag"].flag
    assert [found.name for found in flag.variants] == ["on", "off", "disabled", "on-2", "off-2"]
    for name in names:
        assert given(translated, {"properties": {"plan": name}})["name"] == name
    assert given(translated, {"properties": {"plan": "free"}}) == {
        "name": "disabled",
        "enabled": False,
        "feature_enabled": True,
    }
    assert not is_on(translated, {"properties": {"plan": "?"}})


@pytest.mark.parametrize("weights", [(0, 0), (None, -1), (0.5, 0)])
def test_without_any_weight_the_flag_is_on_without_a_variant(weights: tuple[Any, Any]) -> None:
    variants = [variant(f"v{number}", weight) for number, weight in enumerate(weights)]
    translated = translation(feature(variants=variants))
    assert given(translated, {"userId": "7"}) == {"name": "disabled", "enabled": False, "feature_enabled": True}


def test_overrides_go_before_the_hash_in_the_order_of_the_variants() -> None:
    override = {"contextName": "userId", "values": ["1", "2"]}
    variants = [
        variant("a", 0, overrides=[{"contextName": "plan", "values": ["pro"]}]),
        variant("b", 0, overrides=[{"contextName": "plan", "values": ["free"]}, override]),
        variant("c", 1, overrides=[override]),
    ]
    translated = translation(feature(strategies=[rollout_of("100")], variants=variants))
    assert [rule.id for rule in translated.flags["flag"].flag.rules] == [
        "strategy-1-override-1",
        "strategy-1-override-2",
        "strategy-1-override-3",
        "strategy-1-override-4",
        "strategy-1",
    ]
    assert given(translated, {"userId": "1", "properties": {"plan": "pro"}})["name"] == "a"
    assert given(translated, {"userId": "1"})["name"] == "b"
    assert given(translated, {"userId": "3", "properties": {"plan": "free"}})["name"] == "b"
    assert given(translated, {"userId": "3"})["name"] == "c"


def test_overrides_do_not_give_a_random_rollout_a_second_draw() -> None:
    override = {"contextName": "plan", "values": ["pro"]}
    variants = [variant("a", 0, overrides=[override, override]), variant("b", 1)]
    flags = evaluator(translation(feature(strategies=[rollout_of("30", "random")], variants=variants)))
    random.seed(11)
    served = [flags.details("flag", Context(plan="pro"), None).variant for _ in range(4000)]
    assert set(served) == {"a", "off"}
    assert 0.27 < served.count("a") / len(served) < 0.33  # with a second draw it would be 0.51, and b among them


def test_strategy_variants_hash_with_the_strategys_group_and_stickiness() -> None:
    variants = [variant("a", stickiness="plan"), variant("b", stickiness="plan")]
    translated = translation(feature(strategies=[rollout_of("100", "userId", variants=variants)]))
    split = translated.flags["flag"].flag.rules[0].split
    assert split is not None
    assert (split.by, split.salt) == ("targeting_key", "group")
    assert paths(translated) == ["strategies[0].variants[0].stickiness"]


def test_feature_variants_hash_with_the_flags_name_and_the_first_variants_stickiness() -> None:
    variants = [variant("a", stickiness="plan"), variant("b", stickiness="random")]
    split = translation(feature(strategies=[rollout_of("100")], variants=variants)).flags["flag"].flag.rules[0].split
    assert split is not None
    assert (split.by, split.salt) == ("plan", "")


# Dependencies


PARENTS = (
    feature("plain"),
    feature("off", enabled=False),
    feature("with-variants", variants=[variant("a"), variant("b", 0)]),
    feature("grandchild", dependencies=[{"feature": "plain"}]),
)


@pytest.mark.parametrize(
    ("dependency", "expected", "holds"),
    [
        ({"feature": "plain"}, Prerequisite(flag="plain"), True),
        ({"feature": "plain", "variants": ["disabled"]}, Prerequisite(flag="plain", variants=("on",)), True),
        ({"feature": "plain", "variants": ["on"]}, None, False),
        ({"feature": "off", "enabled": False}, Prerequisite(flag="off", enabled=False), True),
        ({"feature": "off", "enabled": False, "variants": ["a"]}, Prerequisite(flag="off", enabled=False), True),
        ({"feature": "off", "variants": ["disabled"]}, Prerequisite(flag="off", variants=("on",)), False),
        ({"feature": "with-variants", "variants": ["a"]}, Prerequisite(flag="with-variants", variants=("a",)), True),
        ({"feature": "with-variants", "variants": ["b"]}, Prerequisite(flag="with-variants", variants=("b",)), False),
        ({"feature": "with-variants", "variants": ["disabled"]}, None, False),
        ({"feature": "nowhere", "enabled": False}, Prerequisite(flag="nowhere", enabled=False), False),
        ({"feature": "grandchild"}, None, False),
        ({"feature": "grandchild", "enabled": False}, None, False),
        ({"feature": "flag"}, None, False),
    ],
    ids=str,
)
def test_dependencies_become_prerequisites(
    dependency: dict[str, Any], expected: Prerequisite | None, holds: bool
) -> None:
    for strategies in ([], [strategy()]):
        translated = translation(*PARENTS, feature(strategies=strategies, dependencies=[dependency]))
        assert translated.flags["flag"].flag.prerequisites == (() if expected is None else (expected,))
        assert is_on(translated, {"userId": "7"}) is holds
        assert expected is not None or paths(translated)[0].startswith("dependencies[0].")


def test_a_dependency_that_is_repeated_counts_once() -> None:
    # As Unleash's server does, for each strategy of the feature.
    dependency = {"feature": "plain", "enabled": True, "variants": []}
    translated = translation(*PARENTS, feature(dependencies=[dependency, dependency]))
    assert translated.flags["flag"].flag.prerequisites == (Prerequisite(flag="plain"),)


# The document


def test_a_document_may_leave_out_nearly_everything_or_give_null() -> None:
    sparse = {
        "name": "flag",
        "enabled": True,
        "impressionData": None,
        "strategies": [
            {"name": "default", "parameters": None, "constraints": None, "segments": None, "variants": None, "new": 1}
        ],
        "variants": None,
        "dependencies": None,
        "lastSeenAt": "yesterday",
    }
    translated = translate(state_of(read_document({"version": 2, "features": [sparse], "query": {}})))
    assert is_on(translated)
    assert translate(state_of(read_document({}))) == Translation({}, {})


def test_names_that_a_key_may_not_have_are_translated_and_noted() -> None:
    translated = translation(feature("wørld 🌍", strategies=[rollout_of("100")]))
    assert is_on(translated, flag="wørld 🌍")
    assert paths(translated, "wørld 🌍") == ["name"]


def test_a_document_of_another_form_is_refused_with_the_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.features\[0\]\.name"):
        read_document({"features": [{"name": 7}]})


def test_events_are_applied_in_order() -> None:
    first = {
        "events": [
            {"eventId": 1, "type": "hydration", "features": [feature("a"), feature("b")], "segments": [{"id": 1}]}
        ]
    }
    then = {
        "events": [
            {"eventId": 2, "type": "feature-updated", "feature": feature("a", enabled=False)},
            {"eventId": 3, "type": "feature-removed", "featureName": "b", "project": "default"},
            {"eventId": 4, "type": "segment-updated", "segment": {"id": 2}},
            {"eventId": 5, "type": "segment-removed", "segmentId": 1},
            {"eventId": 6, "type": "feature-removed", "featureName": "never-there"},
            {"eventId": 7, "type": "newer-than-this-reader", "feature": feature("c")},
            {"eventId": 8, "type": "feature-updated"},
        ]
    }
    before = state_of(read_document(first))
    after = state_of(read_document(then), before)
    assert (list(before.features), list(before.segments)) == (["a", "b"], [1])
    assert (list(after.features), list(after.segments)) == (["a"], [2])
    assert not after.features["a"].enabled
    assert list(state_of(read_document(first), after).features) == ["a", "b"]


def test_a_whole_document_replaces_what_was_before() -> None:
    before = state_of(read_document({"features": [feature("a")], "segments": [{"id": 1}]}))
    assert list(state_of(read_document({"features": [feature("b")]}), before).features) == ["b"]


def test_fields_of_a_context_win_over_properties_of_the_same_name() -> None:
    context = {
        "userId": "7",
        "appName": None,
        "country": "de",
        "properties": {"userId": "8", "appName": "shop", "country": "fr", "plan": None, "tier": "gold"},
    }
    assert context_attributes(context) == {"targeting_key": "7", "app": "shop", "country": "de", "tier": "gold"}
