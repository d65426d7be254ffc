"""What is refused when a flag is written: every fault by its path, with the mend; and nothing is written
then."""

import json
from typing import Any

import pytest

from admin_server import MAX_BODY, AdminClient

EMPTY: dict[str, Any] = {"enabled": True}


def _rule(**fields: Any) -> dict[str, Any]:
    return EMPTY | {"rules": [fields]}


def _constraint(operator: str, *values: Any, **fields: Any) -> dict[str, Any]:
    return _rule(constraints=[{"attribute": "x", "operator": operator, "values": values, **fields}])


def _split(*weights: tuple[str, Any]) -> dict[str, Any]:
    return _rule(split={"variants": [{"variant": variant, "weight": weight} for variant, weight in weights]})


def _prerequisite(**fields: Any) -> dict[str, Any]:
    return EMPTY | {"prerequisites": [fields]}


CONFIGURATIONS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "unknown operator": (_constraint("startswith", "a"), "rules[0].constraints[0].operator", "starts_with"),
    "no such operator at all": (_constraint("qqq", "a"), "rules[0].constraints[0].operator", "One of"),
    "not a number": (_constraint("<", "ten"), "rules[0].constraints[0].values[0]", None),
    "too many to compare with": (_constraint(">=", 1, 2), "rules[0].constraints[0].values", None),
    "none to compare with": (_constraint("contains"), "rules[0].constraints[0].values", None),
    "not a date": (_constraint("before", "tomorrow"), "rules[0].constraints[0].values[0]", None),
    "not a version": (_constraint("semver_gt", "1.x"), "rules[0].constraints[0].values[0]", None),
    "not a network": (_constraint("in_cidr", "10.0.0.0/8", "10.0.0.0/99"), "rules[0].constraints[0].values[1]", None),
    "not a pattern": (_constraint("matches", "("), "rules[0].constraints[0].values[0]", None),
    "not in RE2": (_constraint("matches", r"(a)\1"), "rules[0].constraints[0].values[0]", None),
    "values of exists": (_constraint("exists", "a"), "rules[0].constraints[0].values", "Leave"),
    "case of numbers": (
        _constraint("<", 1, case_insensitive=True),
        "rules[0].constraints[0].case_insensitive",
        "Leave",
    ),
    "too many values": (_constraint("contains", *map(str, range(1001))), "rules[0].constraints[0].values", None),
    "too many listed values": (_constraint("in", *map(str, range(10001))), "rules[0].constraints[0].values", None),
    "a very long value": (_constraint("in", "x" * 1001), "rules[0].constraints[0].values[0]", None),
    "no attribute": (
        _rule(constraints=[{"attribute": "", "operator": "exists"}]),
        "rules[0].constraints[0].attribute",
        None,
    ),
    "a control character": (
        _rule(constraints=[{"attribute": "a\x00b", "operator": "exists"}]),
        "rules[0].constraints[0].attribute",
        "Leave",
    ),
    "too many constraints": (
        _rule(constraints=[{"attribute": "x", "operator": "exists"}] * 51),
        "rules[0].constraints",
        None,
    ),
    "too many rules": (EMPTY | {"rules": [{}] * 101}, "rules", None),
    "percentage above": (_rule(rollout={"percentage": 100.001}), "rules[0].rollout.percentage", "12.5"),
    "percentage below": (_rule(rollout={"percentage": -0.001}), "rules[0].rollout.percentage", None),
    "percentage too fine": (_rule(rollout={"percentage": 0.0015}), "rules[0].rollout.percentage", "nearest"),
    "nothing to hash by": (_rule(rollout={"by": ""}), "rules[0].rollout.by", None),
    "salt": (_rule(rollout={"salt": "a\nb"}), "rules[0].rollout.salt", None),
    "description": (_rule(description="x" * 1001), "rules[0].description", None),
    "unknown variant": (_rule(variant="onn"), "rules[0].variant", "on"),
    "variant and split": (
        _rule(variant="on", split={"variants": [{"variant": "on", "weight": 1}]}),
        "rules[0].split",
        None,
    ),
    "empty split": (_split(), "rules[0].split.variants", None),
    "negative weight": (_split(("on", -1), ("off", 2)), "rules[0].split.variants[0].weight", None),
    "no weight at all": (_split(("on", 0)), "rules[0].split.variants", None),
    "too much weight": (_split(("on", 2**31), ("off", 1)), "rules[0].split.variants", None),
    "variant listed twice": (_split(("on", 1), ("on", 1)), "rules[0].split.variants[1]", None),
    "unknown variant of a split": (_split(("blue", 1)), "rules[0].split.variants[0].variant", None),
    "unknown segment": (_rule(segments=["betta"]), "rules[0].segments[0]", "beta"),
    "segment listed twice": (_rule(segments=["beta", "beta"]), "rules[0].segments[1]", None),
    "rule id": (_rule(id="a b"), "rules[0].id", None),
    "rule id taken": (EMPTY | {"rules": [{"id": "a"}, {"id": "a"}]}, "rules[1].id", "fresh"),
    "prerequisite on itself": (_prerequisite(flag="flag"), "prerequisites[0].flag", None),
    "unknown prerequisite": (_prerequisite(flag="othr"), "prerequisites[0].flag", "other"),
    "unknown variant of a prerequisite": (
        _prerequisite(flag="other", variants=["blue"]),
        "prerequisites[0].variants[0]",
        None,
    ),
    "variants of one that must be off": (
        _prerequisite(flag="other", enabled=False, variants=["on"]),
        "prerequisites[0].variants",
        None,
    ),
    "prerequisite listed twice": (
        EMPTY | {"prerequisites": [{"flag": "other"}, {"flag": "other", "enabled": False}]},
        "prerequisites[1]",
        None,
    ),
    "unknown field": (_rule(rollouts={}), "rules[0].rollouts", None),
    "wrong type": (_rule(constraints=[{"attribute": 1, "operator": "in"}]), "rules[0].constraints[0].attribute", None),
    "a number as text": (_rule(rollout={"percentage": "10"}), "rules[0].rollout.percentage", None),
    "missing field": ({"rules": []}, "enabled", None),
    "reason": (EMPTY | {"reason": "x" * 1001}, "reason", None),
}

FLAGS: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"key": "a b"}, "key"),
    "dot": ({"key": "."}, "key"),
    "dots": ({"key": ".."}, "key"),
    "no key": ({"key": ""}, "key"),
    "long key": ({"key": "x" * 129}, "key"),
    "umlaut": ({"key": "für-alle"}, "key"),
    "line break": ({"key": "a\n"}, "key"),
    "kind": ({"kind": "toggle"}, "kind"),
    "type": ({"type": "color"}, "type"),
    "description": ({"description": "x" * 1001}, "description"),
    "owner": ({"owner": "a\x07"}, "owner"),
    "tags": ({"tags": [str(n) for n in range(51)]}, "tags"),
    "tag twice": ({"tags": ["a", "a"]}, "tags[1]"),
    "boolean with variants": ({"variants": [{"name": "a", "value": True}]}, "variants"),
    "boolean's off variant": ({"off_variant": "on"}, "off_variant"),
    "no variants": ({"type": "string", "off_variant": "a"}, "variants"),
    "no off variant": ({"type": "string", "variants": [{"name": "a", "value": "a"}]}, "off_variant"),
    "off variant": ({"type": "string", "variants": [{"name": "a", "value": "a"}], "off_variant": "b"}, "off_variant"),
    "reserved": (
        {"type": "string", "variants": [{"name": "disabled", "value": "a"}], "off_variant": "disabled"},
        "variants[0].name",
    ),
    "number for a string": (
        {"type": "string", "variants": [{"name": "a", "value": 1}], "off_variant": "a"},
        "variants[0].value",
    ),
    "boolean for a number": (
        {"type": "number", "variants": [{"name": "a", "value": True}], "off_variant": "a"},
        "variants[0].value",
    ),
    "inexact integer": (
        {"type": "number", "variants": [{"name": "a", "value": 2**53 + 1}], "off_variant": "a"},
        "variants[0].value",
    ),
    "variant twice": (
        {"type": "number", "variants": [{"name": "a", "value": 1}, {"name": "a", "value": 2}], "off_variant": "a"},
        "variants[1]",
    ),
    "huge value": (
        {"type": "object", "variants": [{"name": "a", "value": ["x" * 70_000]}], "off_variant": "a"},
        "variants[0].value",
    ),
    "unknown field": ({"descripton": "x"}, "descripton"),
}


@pytest.fixture
def place(admin: AdminClient, project: str) -> str:
    for key in ("flag", "other"):
        admin.post(f"/projects/{project}/flags", {"key": key})
    admin.post(f"/projects/{project}/segments", {"key": "beta"})
    return f"/projects/{project}/flags/flag/environments/production"


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_configuration_is_refused_by_the_path_of_its_fault(admin: AdminClient, place: str, case: str) -> None:
    configuration, field, hint = CONFIGURATIONS[case]
    refused = admin.put(place, configuration)
    assert refused.status == 422, refused
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.body["type"] == "urn:fader:problem:invalid"
    assert [error["field"] for error in refused.body["errors"]] == [field]
    assert refused.body["field"] == field
    assert hint is None or hint in refused.body["hint"]


@pytest.mark.parametrize("case", FLAGS)
def test_a_definition_is_refused_by_the_path_of_its_fault(admin: AdminClient, project: str, case: str) -> None:
    definition, field = FLAGS[case]
    refused = admin.post(f"/projects/{project}/flags", {"key": "new"} | definition)
    assert refused.status == 422, refused
    assert [error["field"] for error in refused.body["errors"]] == [field]


def test_all_faults_are_told_at_once(admin: AdminClient, place: str) -> None:
    refused = admin.put(
        place,
        {
            "enabled": True,
            "rules": [
                {"rollout": {"percentage": 101}, "segments": ["nobody"]},
                {"constraints": [{"attribute": "", "operator": "<", "values": ["a"]}]},
            ],
            "prerequisites": [{"flag": "nowhere"}],
        },
    )
    assert [error["field"] for error in refused.body["errors"]] == [
        "rules[0].segments[0]",
        "rules[0].rollout.percentage",
        "rules[1].constraints[0].attribute",
        "rules[1].constraints[0].values[0]",
        "prerequisites[0].flag",
    ]
    assert "4 more" in refused.body["detail"]


def test_a_rule_by_itself_is_refused_by_its_own_paths(admin: AdminClient, place: str) -> None:
    refused = admin.post(f"{place}/rules", {"rollout": {"percentage": 101}})
    assert refused.body["field"] == "rollout.percentage"
    assert admin.post(f"{place}/rollout", {"percentage": -1}).body["field"] == "percentage"
    assert admin.post(f"{place}/rollout", {"percentage": 1, "by": ""}).body["field"] == "by"
    assert admin.post(f"{place}/on", {"percentage": 1000}).body["field"] == "percentage"


def test_percentages_are_exact_to_the_thousandth(admin: AdminClient, place: str) -> None:
    for thousandths in (0, 1, 7, 29, 57, 999, 12_345, 33_333, 99_999, 100_000):
        assert admin.post(f"{place}/rollout", {"percentage": thousandths / 1000}).status == 200


def test_a_flag_of_each_type(admin: AdminClient, project: str) -> None:
    types: dict[str, list[Any]] = {
        "string": ["", "ø"],
        "number": [0, -1.5],
        "object": [{"a": [1, {"b": None}]}, "text", 3, None],
    }
    for of, values in types.items():
        variants = [{"name": f"v{position}", "value": value} for position, value in enumerate(values)]
        created = admin.post(
            f"/projects/{project}/flags", {"key": of, "type": of, "variants": variants, "off_variant": "v0"}
        )
        assert created.status == 201, created
        assert [variant.get("value") for variant in created.body["variants"]] == values


def test_prerequisites_never_make_a_circle(admin: AdminClient, project: str) -> None:
    flags = f"/projects/{project}/flags"
    for key in "abc":
        admin.post(flags, {"key": key})

    def needs(flag: str, other: str, environment: str = "production") -> Any:
        return admin.put(f"{flags}/{flag}/environments/{environment}", EMPTY | {"prerequisites": [{"flag": other}]})

    assert needs("a", "b").status == 200
    assert needs("b", "c").status == 200
    assert needs("c", "a", "staging").status == 200  # environments do not wait for each other
    refused = needs("c", "a")
    assert refused.body["field"] == "prerequisites[0].flag"
    assert "c → a → b → c" in refused.body["detail"]


def test_prerequisites_never_make_a_very_long_chain(admin: AdminClient, project: str) -> None:
    flags = f"/projects/{project}/flags"
    for number in range(22):
        admin.post(flags, {"key": f"f{number}"})
    statuses = [
        admin.put(
            f"{flags}/f{number}/environments/staging", EMPTY | {"prerequisites": [{"flag": f"f{number + 1}"}]}
        ).status
        for number in range(20)
    ]
    assert statuses == [200] * 19 + [422]


NOT_JSON = {
    "nothing": (b"", 400),
    "half": (b'{"enabled": tr', 400),
    "text": (b"enabled", 400),
    "not UTF-8": (b'{"enabled": true, "reason": "\xff"}', 400),
    "half a surrogate pair": (b'{"enabled": true, "reason": "\\ud800"}', 400),
    "not a number": (b'{"enabled": true, "rules": [{"rollout": {"percentage": NaN}}]}', 400),
    "no number": (b'{"enabled": true, "rules": [{"rollout": {"percentage": 1e999}}]}', 422),
    "deep": (b'{"enabled": true, "rules": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422),
    "deep where anything goes": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 422),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "large": (b" " * (MAX_BODY + 1), 413),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_cannot_be_read_is_refused(admin: AdminClient, place: str, case: str) -> None:
    raw, status = NOT_JSON[case]
    refused = admin.send("PUT", place, raw=raw)
    assert refused.status == status, refused
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.body["status"] == status
    assert refused.body["request_id"]


def test_a_deeply_nested_value_is_refused(admin: AdminClient, project: str) -> None:
    for depth, status in ((40, 422), (100_000, 400)):
        raw = b'{"key": "x", "type": "object", "off_variant": "a", "variants": [{"name": "a", "value": %s}]}'
        refused = admin.send("POST", f"/projects/{project}/flags", raw=raw % (b"[" * depth + b"]" * depth))
        assert refused.status == status, refused


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_bodies_are_json_by_their_own_word(admin: AdminClient, place: str, media_type: str) -> None:
    refused = admin.send("PUT", place, raw=b'{"enabled": true}', headers={"Content-Type": media_type})
    assert refused.status == 415
    assert refused.body["type"] == "urn:fader:problem:unsupported-media-type"


def test_no_refused_request_leaves_a_trace(admin: AdminClient, project: str, place: str) -> None:
    flags = f"/projects/{project}/flags"
    before = [admin.all(f"/projects/{project}/{what}") for what in ("changes", "flags", "environments", "segments")]
    barrage = [("PUT", place, json.dumps(configuration).encode()) for configuration, _, _ in CONFIGURATIONS.values()]
    barrage += [("PUT", place, raw) for raw, _ in NOT_JSON.values()]
    barrage += [("POST", flags, json.dumps({"key": "new"} | definition).encode()) for definition, _ in FLAGS.values()]
    barrage += [
        ("PATCH", f"{flags}/flag", json.dumps(definition).encode())
        for definition, _ in FLAGS.values()
        if "key" not in definition
    ]
    for verb in ("on", "off", "rollout", "undo", "rules", "explain"):
        barrage += [
            ("POST", f"{place}/{verb}", body) for body in (b'{"percentage": 1e3}', b'{"reason": 1}', b"{", b'{"x": 1}')
        ]
    barrage += [
        ("POST", f"/projects/{project}/segments", body) for body in (b'{"key": "a b"}', b'{"key": "beta"}', b"[]")
    ]
    barrage += [
        ("PUT", f"/projects/{project}/segments/beta", body) for body in (b'{"targeting_keys": [""]}', b'{"key": "x"}')
    ]
    barrage += [
        ("DELETE", f"{flags}/flag", b""),
        ("POST", f"/projects/{project}/environments", b'{"key": "production"}'),
    ]
    for method, path, raw in barrage:
        answer = admin.send(method, path, raw=raw)
        assert 400 <= answer.status < 500, (method, path, raw[:200], answer)
        assert answer.body["detail"]
    after = [admin.all(f"/projects/{project}/{what}") for what in ("changes", "flags", "environments", "segments")]
    assert after == before
