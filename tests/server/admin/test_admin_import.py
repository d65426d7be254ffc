"""Import through the admin API: one transaction, exact or refused, as often as one likes."""

from typing import Any

import pytest

from admin_server import AdminClient, Answer

STRATEGY = {
    "id": "4bd7e2a3-6d1f-4e29-9c1e-0a3c8f0f5a11",
    "name": "flexibleRollout",
    "featureName": "checkout",
    "title": "Half of the pros",
    "parameters": {"rollout": "50", "stickiness": "default", "groupId": "checkout"},
    "constraints": [{"contextName": "plan", "operator": "IN", "values": ["pro"]}],
    "segments": [3],
    "sortOrder": 1,
}
EXPORT: dict[str, Any] = {
    "features": [
        {"name": "checkout", "type": "kill-switch", "description": "The new one", "project": "shop"},
        {"name": "search", "type": "experiment"},
        {"name": "old", "archived": True},
    ],
    "featureStrategies": [STRATEGY],
    "featureEnvironments": [
        {"name": "checkout", "featureName": "checkout", "environment": "production", "enabled": True},
        {"name": "search", "featureName": "search", "environment": "production", "enabled": False},
    ],
    "featureTags": [{"featureName": "checkout", "tagType": "simple", "tagValue": "shop"}],
    "segments": [
        {"id": 3, "name": "Berlin", "constraints": [{"contextName": "city", "operator": "IN", "values": ["B"]}]}
    ],
    "dependencies": [{"feature": "checkout", "dependencies": [{"feature": "search", "enabled": False}]}],
    "tagTypes": [],
    "contextFields": [],
}


def run(admin: AdminClient, project: str, document: Any, query: str = "", **fields: Any) -> Answer:
    body = {"format": "unleash", "environment": "production", "document": document} | fields
    return admin.post(f"/projects/{project}/import{query}", body)


def features(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document as SDKs get it."""
    return {"version": 2, "features": [{"enabled": True, "strategies": []} | one for one in found], **more}


def outcomes(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer
    return {one["key"]: one["outcome"] for one in (*answer.body["flags"], *answer.body["segments"])}


def reasons(answer: Answer, key: str) -> list[tuple[str, str]]:
    [found] = [one for one in (*answer.body["flags"], *answer.body["segments"]) if one["key"] == key]
    return [(refusal["path"], refusal["reason"]) for refusal in found["refusals"]]


def revisions(admin: AdminClient, project: str) -> dict[str, int]:
    return {one["key"]: one["revision"] for one in admin.all(f"/projects/{project}/environments")}


def test_an_export_becomes_flags_and_segments(admin: AdminClient, project: str) -> None:
    answer = run(admin, project, EXPORT, reason="We are moving")
    assert outcomes(answer) == {"checkout": "created", "search": "created", "Berlin": "created"}
    assert answer.body["remarks"] == ["Archived in Unleash, and left out: old."]
    flag = admin.get(f"/projects/{project}/flags/checkout").body
    assert (flag["description"], flag["kind"], flag["tags"]) == ("The new one", "ops", ["simple:shop"])
    production = flag["environments"]["production"]
    assert (production["enabled"], flag["environments"]["staging"]["enabled"]) == (True, False)
    assert production["rules"] == [
        {
            "id": STRATEGY["id"],
            "description": "Half of the pros",
            "constraints": [{"attribute": "plan", "operator": "in", "values": ["pro"]}],
            "segments": ["Berlin"],
            "rollout": {"percentage": 50.0},
        }
    ]
    assert production["prerequisites"] == [{"flag": "search", "enabled": False}]
    changes = admin.all(f"/projects/{project}/changes?environment=production")
    assert {change["reason"] for change in changes if change["kind"] != "environment"} == {"We are moving"}
    assert answer.body["revision"] == revisions(admin, project)["production"]


def test_a_second_run_changes_nothing(admin: AdminClient, project: str) -> None:
    run(admin, project, EXPORT)
    before = revisions(admin, project)
    assert set(outcomes(run(admin, project, EXPORT)).values()) == {"unchanged"}
    assert revisions(admin, project) == before


def test_what_has_changed_is_updated_in_its_environment_only(admin: AdminClient, project: str) -> None:
    run(admin, project, EXPORT)
    before = revisions(admin, project)
    changed = EXPORT | {"featureStrategies": [STRATEGY | {"parameters": {"rollout": "60", "groupId": "checkout"}}]}
    assert outcomes(run(admin, project, changed)) == {
        "checkout": "updated",
        "search": "unchanged",
        "Berlin": "unchanged",
    }
    assert revisions(admin, project) == before | {"production": before["production"] + 1}
    undone = admin.post(f"/projects/{project}/flags/checkout/environments/production/undo").body
    assert undone["flag"]["environments"]["production"]["rules"][0]["rollout"] == {"percentage": 50.0}


def test_a_dry_run_reports_and_writes_nothing(admin: AdminClient, project: str) -> None:
    before = revisions(admin, project)
    answer = run(admin, project, EXPORT, "?dry_run=true")
    assert outcomes(answer)["checkout"] == "created"
    assert answer.headers["Fader-Dry-Run"] == "true"
    assert revisions(admin, project) == before
    assert admin.all(f"/projects/{project}/flags") == []


INEXACT = features(
    {"name": "exact"},
    {"name": "custom", "strategies": [{"name": "ourOwn"}]},
    {"name": "disputed", "strategies": [{"name": "flexibleRollout", "parameters": {"rollout": "1.5"}}]},
    {"name": "child", "dependencies": [{"feature": "custom"}]},
)


def test_one_refused_flag_keeps_all_others_out(admin: AdminClient, project: str) -> None:
    answer = run(admin, project, INEXACT)
    assert answer.status == 422
    assert [error["field"] for error in answer.body["errors"]] == [
        "flags.child.prerequisites",
        "flags.custom.strategies[0].name",
        "flags.disputed.strategies[0].parameters.rollout",
    ]
    assert answer.body["detail"].startswith("Nothing is imported, for 3 are refused.")
    assert admin.all(f"/projects/{project}/flags") == []


def test_a_dry_run_tells_what_is_refused_and_why(admin: AdminClient, project: str) -> None:
    answer = run(admin, project, INEXACT, "?dry_run=true")
    assert outcomes(answer) == {
        "exact": "created",
        "custom": "refused",
        "disputed": "refused",
        "child": "refused",
    }
    assert reasons(answer, "custom")[0][0] == "strategies[0].name"
    assert reasons(answer, "child") == [("prerequisites", "flag 'custom' is refused")]


def test_the_others_are_imported_if_refused_ones_are_skipped(admin: AdminClient, project: str) -> None:
    answer = run(admin, project, INEXACT, skip_refused=True)
    assert outcomes(answer)["exact"] == "created"
    assert [flag["key"] for flag in admin.all(f"/projects/{project}/flags")] == ["exact"]


def test_what_is_disputed_can_be_accepted(admin: AdminClient, project: str) -> None:
    answer = run(admin, project, INEXACT, skip_refused=True, accept=["disputed"])
    assert outcomes(answer)["disputed"] == "created"
    [remark] = next(one for one in answer.body["flags"] if one["key"] == "disputed")["remarks"]
    assert (remark["path"], remark["severity"]) == ("strategies[0].parameters.rollout", "disputed")
    flag = admin.get(f"/projects/{project}/flags/disputed").body
    assert flag["environments"]["production"]["rules"][0]["rollout"]["percentage"] == 1.0


def test_a_segment_of_which_only_the_name_is_known_must_be_there(admin: AdminClient, project: str) -> None:
    named = EXPORT | {"segments": [{"id": 3, "name": "Berlin"}]}
    answer = run(admin, project, named, "?dry_run=true")
    assert outcomes(answer) == {"Berlin": "refused", "checkout": "refused", "search": "created"}
    assert reasons(answer, "Berlin") == [("constraints", "are not in the document, which only names the segment")]
    assert reasons(answer, "checkout") == [("segments", "segment 'Berlin' is refused")]
    admin.post(f"/projects/{project}/segments", {"key": "Berlin", "targeting_keys": ["ada"]})
    assert outcomes(run(admin, project, named)) == {"Berlin": "unchanged", "checkout": "created", "search": "created"}


def test_a_segment_that_others_use_is_not_replaced(admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/segments", {"key": "Berlin", "targeting_keys": ["ada"]})
    admin.post(f"/projects/{project}/flags", {"key": "ours"})
    ours = {"enabled": True, "rules": [{"segments": ["Berlin"]}]}
    assert admin.put(f"/projects/{project}/flags/ours/environments/staging", ours).status == 200
    assert reasons(run(admin, project, EXPORT, "?dry_run=true"), "Berlin") == [
        ("", "there is another segment of this name, and flags use it that are not in the document: ours")
    ]
    admin.post(f"/projects/{project}/flags/ours/archive")
    assert outcomes(run(admin, project, EXPORT))["Berlin"] == "updated"


VARIANTS = [
    {"name": "red", "weight": 500, "payload": {"type": "string", "value": "#f00"}},
    {"name": "blue", "weight": 500, "payload": {"type": "string", "value": "#00f"}},
]


def test_variants_of_two_environments_come_together(admin: AdminClient, project: str) -> None:
    green = {"name": "green", "weight": 1000, "payload": {"type": "string", "value": "#0f0"}}
    run(admin, project, features({"name": "colour", "variants": VARIANTS}))
    run(admin, project, features({"name": "colour", "variants": [green]}), environment="staging")
    run(admin, project, features({"name": "colour"}), environment="development")
    flag = admin.get(f"/projects/{project}/flags/colour").body
    assert [one["name"] for one in flag["variants"]] == ["red", "blue", "off", "green", "on"]
    rules = {name: found["rules"][0] for name, found in flag["environments"].items()}
    assert (rules["staging"]["variant"], rules["development"]["variant"]) == ("green", "on")
    for environment, variants in (("production", VARIANTS), ("staging", [green]), ("development", [])):
        again = run(admin, project, features({"name": "colour", "variants": variants}), environment=environment)
        assert outcomes(again) == {"colour": "unchanged"}


def test_variants_of_two_environments_that_contradict_one_another_are_refused(admin: AdminClient, project: str) -> None:
    run(admin, project, features({"name": "colour", "variants": VARIANTS}))
    other = [VARIANTS[0] | {"payload": {"type": "string", "value": "#c00"}}]
    answer = run(
        admin, project, features({"name": "colour", "variants": other}), "?dry_run=true", environment="staging"
    )
    assert reasons(answer, "colour") == [
        ("variants[0].value", "variant 'red' has the value '\"#f00\"' in other environments")
    ]
    # In the environment that has it, it may become another one.
    assert outcomes(run(admin, project, features({"name": "colour", "variants": other}))) == {"colour": "updated"}


def test_a_flag_that_is_boolean_elsewhere_stays_it(admin: AdminClient, project: str) -> None:
    run(admin, project, features({"name": "colour"}), environment="staging")
    document = features({"name": "colour", "variants": VARIANTS})
    assert [path for path, _ in reasons(run(admin, project, document, "?dry_run=true"), "colour")] == ["type"]
    admin.post(f"/projects/{project}/flags/colour/archive")
    assert reasons(run(admin, project, document, "?dry_run=true"), "colour") == [
        ("", "there is an archived flag of this key")
    ]
    admin.delete(f"/projects/{project}/flags/colour")
    assert outcomes(run(admin, project, document)) == {"colour": "created"}


def test_what_a_flag_may_not_have_here_is_refused_with_the_place(admin: AdminClient, project: str) -> None:
    long = {"contextName": "plan", "operator": "IN", "values": ["x" * 1001]}
    document = features(
        {"name": "wørld", "strategies": []},
        {"name": "long", "strategies": [{"name": "default", "constraints": [long]}]},
    )
    answer = run(admin, project, document, "?dry_run=true")
    assert [path for path, _ in reasons(answer, "wørld")] == ["name"]
    assert [path for path, _ in reasons(answer, "long")] == ["rules[0].constraints[0].values[0]"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "document"),
        ({"features": [{"name": 7}]}, "document.features[0].name"),
        ({"features": {}, "featureStrategies": []}, "document.features"),
        (
            EXPORT
            | {"featureEnvironments": [{"featureName": "checkout", "enabled": True, "environment": e} for e in "ab"]},
            "document.featureEnvironments",
        ),
    ],
    ids=["empty", "of another form", "an export of another form", "two environments"],
)
def test_a_document_that_cannot_be_read_is_refused_as_a_whole(
    admin: AdminClient, project: str, document: Any, field: str
) -> None:
    answer = run(admin, project, document)
    assert (answer.status, answer.body["field"]) == (422, field)


def test_environment_and_project_must_exist(admin: AdminClient, project: str) -> None:
    assert run(admin, project, EXPORT, environment="prod").status == 404
    assert run(admin, "nowhere", EXPORT).status == 404


def test_who_needs_whom_may_turn_round(admin: AdminClient, project: str) -> None:
    def needing(**needs: str) -> dict[str, Any]:
        return features(
            *({"name": name, "dependencies": [{"feature": one}] if one else []} for name, one in needs.items())
        )

    assert outcomes(run(admin, project, needing(a="b", b=""))) == {"a": "created", "b": "created"}
    assert outcomes(run(admin, project, needing(a="", b="a"))) == {"a": "updated", "b": "updated"}
    assert outcomes(run(admin, project, needing(a="", b=""))) == {"a": "unchanged", "b": "updated"}


def test_a_chain_of_flags_has_an_end(admin: AdminClient, project: str) -> None:
    def needing(one: int) -> dict[str, Any]:
        fallthrough = {"variations": [True, False], "offVariation": 1, "fallthrough": {"variation": 0}}
        return fallthrough | {"on": True, "prerequisites": [{"key": f"f{one - 1}", "variation": 0}] if one else []}

    chain = {"flags": {f"f{one}": needing(one) for one in range(25)}}
    found = run(admin, project, chain, "?dry_run=true", format="launchdarkly")
    assert [key for key, outcome in outcomes(found).items() if outcome == "refused"] == [
        "f20", "f21", "f22", "f23", "f24",
    ]  # fmt: skip
    assert "chain of more than 20 flags" in reasons(found, "f20")[0][1]


def test_a_wrong_format_is_called_what_it_is_called_in_the_request(admin: AdminClient, project: str) -> None:
    answer = admin.get(f"/projects/{project}/environments/production/export?format=yaml")
    assert (answer.status, answer.body["field"]) == (422, "format")


def test_a_flag_that_is_in_a_ramp_is_left_to_it(admin: AdminClient, project: str) -> None:
    half = [{"name": "flexibleRollout", "parameters": {"rollout": "50", "groupId": "new"}}]
    assert outcomes(run(admin, project, features({"name": "new", "strategies": half}))) == {"new": "created"}
    place = f"/projects/{project}/flags/new/environments/production"
    assert admin.post(f"{place}/ramp", {"steps": [{"percentage": 60}, {"percentage": 100}]}).status == 201
    answer = run(admin, project, features({"name": "new", "strategies": half}), "?dry_run=true")
    assert reasons(answer, "new") == [("", "the flag is in a ramp here, which would go on from what is imported")]
    assert admin.post(f"{place}/ramp/abort", {}).status == 200
    assert outcomes(run(admin, project, features({"name": "new", "strategies": half}))) == {"new": "updated"}
