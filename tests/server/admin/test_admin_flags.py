"""Flags through the admin API: life, definitions, and the verbs in one environment."""

from typing import Any

import pytest

from admin_server import AdminClient


@pytest.fixture
def flags(project: str) -> str:
    return f"/projects/{project}/flags"


def _in(flags: str, flag: str, environment: str = "production") -> str:
    return f"{flags}/{flag}/environments/{environment}"


def test_a_new_flag_is_off_everywhere(admin: AdminClient, flags: str) -> None:
    created = admin.post(flags, {"key": "checkout", "description": "One page", "owner": "payments", "tags": ["q3"]})
    assert created.status == 201
    flag = created.body
    assert (flag["type"], flag["kind"], flag["off_variant"], flag["archived_at"]) == ("boolean", "release", "off", None)
    assert (flag["description"], flag["owner"], flag["tags"]) == ("One page", "payments", ["q3"])
    assert set(flag["environments"]) == {"development", "staging", "production"}
    for configuration in flag["environments"].values():
        assert (configuration["enabled"], configuration["rules"], configuration["prerequisites"]) == (False, [], [])
    assert admin.get(f"{flags}/checkout").body == flag


def test_on_off_and_again(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    on = admin.post(f"{_in(flags, 'a')}/on", {"reason": "ready"}).body
    assert (on["environment"], on["changed"]) == ("production", True)
    assert on["flag"]["environments"]["production"]["enabled"]
    assert not on["flag"]["environments"]["staging"]["enabled"]
    again = admin.post(f"{_in(flags, 'a')}/on").body
    assert (again["revision"], again["changed"]) == (on["revision"], False)
    off = admin.post(f"{_in(flags, 'a')}/off").body
    assert (off["revision"], off["changed"]) == (on["revision"] + 1, True)


def test_rollout_never_switches_on_and_keeps_its_rule(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    first = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 10}).body["flag"]["environments"]["production"]
    assert not first["enabled"]
    [rule] = first["rules"]
    assert rule["rollout"] == {"percentage": 10.0}
    assert len(rule["id"]) == 8
    second = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 0.001, "by": "account", "salt": "s"}).body
    assert second["flag"]["environments"]["production"]["rules"] == [
        {"id": rule["id"], "rollout": {"percentage": 0.001, "by": "account", "salt": "s"}}
    ]
    third = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 50}).body
    assert third["flag"]["environments"]["production"]["rules"][0]["rollout"] == {
        "percentage": 50.0,
        "by": "account",
        "salt": "s",
    }


def test_on_with_a_percentage_is_one_change(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    before = admin.get(f"{flags}/a").body["environments"]["production"]["revision"]
    on = admin.post(f"{_in(flags, 'a')}/on", {"percentage": 5}).body
    assert on["revision"] == before + 1
    configuration = on["flag"]["environments"]["production"]
    assert configuration["enabled"]
    assert configuration["rules"][0]["rollout"] == {"percentage": 5.0}


def test_rollout_chooses_the_last_rule_that_is_for_everybody(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    beta = {"id": "beta", "constraints": [{"attribute": "plan", "operator": "in", "values": ["beta"]}]}
    admin.put(_in(flags, "a"), {"enabled": True, "rules": [{"id": "first"}, {"id": "second"}, beta]})
    rules = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 7}).body["flag"]["environments"]["production"][
        "rules"
    ]
    assert [(rule["id"], rule.get("rollout")) for rule in rules] == [
        ("first", None),
        ("second", {"percentage": 7.0}),
        ("beta", None),
    ]
    rules = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 3, "rule": "beta"}).body
    assert rules["flag"]["environments"]["production"]["rules"][2]["rollout"] == {"percentage": 3.0}
    unknown = admin.post(f"{_in(flags, 'a')}/rollout", {"percentage": 3, "rule": "betta"})
    assert unknown.status == 404


def test_rules_are_added_replaced_and_removed_by_id(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    place = _in(flags, "a")
    added = admin.post(
        f"{place}/rules",
        {"description": "Germans", "constraints": [{"attribute": "country", "operator": "in", "values": ["DE"]}]},
    )
    assert added.status == 201
    germans = added.body["flag"]["environments"]["production"]["rules"][0]["id"]
    first = admin.post(f"{place}/rules", {"id": "staff", "position": 0, "reason": "us first"}).body
    assert [rule["id"] for rule in first["flag"]["environments"]["production"]["rules"]] == ["staff", germans]
    replaced = admin.put(f"{place}/rules/{germans}", {"description": "Nobody", "variant": "off"}).body
    assert replaced["flag"]["environments"]["production"]["rules"][1] == {
        "id": germans,
        "description": "Nobody",
        "variant": "off",
    }
    assert admin.put(f"{place}/rules/{germans}", {"id": "other"}).body["field"] == "id"
    left = admin.delete(f"{place}/rules/staff?reason=done").body
    assert [rule["id"] for rule in left["flag"]["environments"]["production"]["rules"]] == [germans]
    assert admin.delete(f"{place}/rules/staff").status == 404
    assert admin.post(f"{place}/rules", {"position": 5}).body["field"] == "position"


def test_undo_goes_back_and_undoing_that_goes_forth(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    place = _in(flags, "a")
    nothing = admin.post(f"{place}/undo")
    assert nothing.status == 409
    assert "nothing to undo" in nothing.body["detail"]
    admin.post(f"{place}/on", {"percentage": 10})
    admin.post(f"{place}/rollout", {"percentage": 50})
    # A change of the definition is not one of the configuration: undo leaves it alone.
    admin.patch(f"{flags}/a", {"description": "new"})

    def rollout(answer: Any) -> float:
        percentage: float = answer.body["flag"]["environments"]["production"]["rules"][0]["rollout"]["percentage"]
        return percentage

    undone = admin.post(f"{place}/undo", {"reason": "too fast"})
    assert rollout(undone) == 10
    assert undone.body["flag"]["description"] == "new"
    assert rollout(admin.post(f"{place}/undo")) == 50


def test_undo_of_what_is_no_longer_possible_says_so(admin: AdminClient, project: str, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    admin.post(f"/projects/{project}/segments", {"key": "beta", "targeting_keys": ["u1"]})
    place = _in(flags, "a")
    admin.post(f"{place}/rules", {"id": "r", "segments": ["beta"]})
    admin.delete(f"{place}/rules/r")
    assert admin.delete(f"/projects/{project}/segments/beta").status == 204
    undone = admin.post(f"{place}/undo")
    assert undone.status == 409
    assert undone.body["errors"][0]["field"] == "rules[0].segments[0]"


def test_undo_does_not_reach_into_a_former_life(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    admin.post(f"{_in(flags, 'a')}/on")
    admin.post(f"{flags}/a/archive")
    assert admin.delete(f"{flags}/a").status == 204
    admin.post(flags, {"key": "a"})
    assert admin.post(f"{_in(flags, 'a')}/undo").status == 409


def test_a_patch_touches_only_what_it_names(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a", "description": "old", "owner": "me"})
    patched = admin.patch(f"{flags}/a", {"description": "new", "kind": "ops"}).body
    assert (patched["description"], patched["owner"], patched["kind"]) == ("new", "me", "ops")
    changes = admin.all(f"{flags.removesuffix('/flags')}/changes?flag=a")
    assert admin.patch(f"{flags}/a", {"description": "new"}).status == 200
    assert admin.all(f"{flags.removesuffix('/flags')}/changes?flag=a") == changes


def test_a_variant_in_use_cannot_go(admin: AdminClient, flags: str) -> None:
    colours = [{"name": name, "value": name} for name in ("red", "green", "blue")]
    admin.post(flags, {"key": "colour", "type": "string", "variants": colours, "off_variant": "red"})
    admin.put(
        _in(flags, "colour", "staging"),
        {
            "enabled": True,
            "rules": [{"split": {"variants": [{"variant": "red", "weight": 1}, {"variant": "blue", "weight": 3}]}}],
        },
    )
    admin.post(flags, {"key": "page"})
    admin.put(_in(flags, "page"), {"enabled": True, "prerequisites": [{"flag": "colour", "variants": ["green"]}]})
    refused = admin.patch(f"{flags}/colour", {"variants": colours[:1]})
    assert refused.status == 409
    assert sorted(error["detail"] for error in refused.body["errors"]) == [
        "variant 'blue' is used by environments.staging.rules[0].split",
        "variant 'green' is used by flag page, environments.production.prerequisites[0].variants",
    ]
    assert (
        admin.patch(f"{flags}/colour", {"variants": colours[:1], "off_variant": "green"}).body["field"] == "off_variant"
    )
    values = [{"name": name, "value": f"dark {name}"} for name in ("red", "green", "blue")]
    assert admin.patch(f"{flags}/colour", {"variants": values}).body["variants"] == values


def test_an_archived_flag_refuses_everything_but_coming_back(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    admin.post(f"{_in(flags, 'a')}/on")
    assert admin.delete(f"{flags}/a").status == 409
    archived = admin.post(f"{flags}/a/archive", {"reason": "done"})
    assert archived.body["archived_at"] is not None
    assert admin.post(f"{flags}/a/archive").body == archived.body
    for answer in (
        admin.post(f"{_in(flags, 'a')}/off"),
        admin.post(f"{_in(flags, 'a')}/undo"),
        admin.put(_in(flags, "a"), {"enabled": True}),
        admin.patch(f"{flags}/a", {"owner": "me"}),
    ):
        assert answer.status == 409
        assert "archived" in answer.body["detail"]
    assert admin.get(flags).body["items"] == []
    assert [flag["key"] for flag in admin.get(f"{flags}?archived=true").body["items"]] == ["a"]
    taken = admin.post(flags, {"key": "a"})
    assert (taken.status, taken.body["field"]) == (409, "key")
    back = admin.post(f"{flags}/a/unarchive").body
    assert back["archived_at"] is None
    assert back["environments"]["production"]["enabled"]


def test_a_prerequisite_of_others_cannot_be_archived(admin: AdminClient, flags: str) -> None:
    for key in ("parent", "child"):
        admin.post(flags, {"key": key})
    admin.put(_in(flags, "child", "staging"), {"enabled": True, "prerequisites": [{"flag": "parent"}]})
    refused = admin.post(f"{flags}/parent/archive")
    assert refused.status == 409
    assert "child (staging)" in refused.body["detail"]
    # The other way round, an archived child does not hold its parent, and cannot come back without it.
    admin.post(f"{flags}/child/archive")
    assert admin.post(f"{flags}/parent/archive").status == 200
    assert admin.delete(f"{flags}/parent").status == 204
    refused = admin.post(f"{flags}/child/unarchive")
    assert refused.status == 409
    assert refused.body["errors"][0]["field"] == "environments.staging.prerequisites[0].flag"


def test_search_and_pages(admin: AdminClient, flags: str) -> None:
    for key, owner in (("a-1", "web"), ("a_2", "web"), ("b-3", "shop 100%"), ("c", "A-Team")):
        admin.post(flags, {"key": key, "owner": owner})

    def found(query: str) -> list[str]:
        return [flag["key"] for flag in admin.get(f"{flags}?{query}").body["items"]]

    assert found("search=a-") == ["a-1", "c"]
    assert found("search=100%25") == ["b-3"]
    assert found("search=_") == ["a_2"]
    first = admin.get(f"{flags}?limit=3").body
    rest = admin.get(f"{flags}?limit=3&cursor={first['next_cursor']}").body
    assert [flag["key"] for flag in first["items"] + rest["items"]] == ["a-1", "a_2", "b-3", "c"]
    assert rest["next_cursor"] is None
    assert admin.get(f"{flags}?limit=3&cursor=%00").body["field"] == "cursor"
    assert admin.get(f"{flags}?limit=501").body["field"] == "limit"


def test_an_unknown_flag_brings_suggestions(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "new-checkout"})
    missing = admin.get(f"{flags}/new-chekout")
    assert missing.status == 404
    assert missing.body["suggestions"] == ["new-checkout"]
    assert "new-checkout" in missing.body["hint"]


def test_a_dry_run_answers_what_would_be_and_writes_nothing(admin: AdminClient, project: str, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    before = admin.all(f"/projects/{project}/changes")
    would_be = admin.post(f"{_in(flags, 'a')}/on?dry_run=true", {"percentage": 5})
    assert would_be.headers["Fader-Dry-Run"] == "true"
    assert would_be.body["changed"]
    assert would_be.body["flag"]["environments"]["production"]["enabled"]
    assert admin.post(f"{flags}?dry_run=true", {"key": "b"}).status == 201
    assert admin.post(f"{flags}?dry_run=true", {"key": "a"}).status == 409
    assert admin.post(f"{flags}/a/archive?dry_run=true").body["archived_at"] is not None
    assert admin.post(f"/projects/{project}/segments?dry_run=true", {"key": "s"}).status == 201
    assert admin.all(f"/projects/{project}/changes") == before
    assert not admin.get(f"{flags}/a").body["environments"]["production"]["enabled"]
    assert admin.get(f"{flags}/b").status == 404
    assert admin.get(f"/projects/{project}/segments/s").status == 404


def test_a_flag_is_off_in_an_environment_that_is_made_after_it(admin: AdminClient, project: str, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    admin.post(f"/projects/{project}/environments", {"key": "canary"})
    assert not admin.get(f"{flags}/a").body["environments"]["canary"]["enabled"]
    assert admin.post(f"{_in(flags, 'a', 'canary')}/on").body["changed"]
    assert admin.post(f"{_in(flags, 'a', 'canary')}/undo").body["changed"]


def test_if_match_keeps_somebody_elses_change(admin: AdminClient, flags: str) -> None:
    admin.post(flags, {"key": "a"})
    place = _in(flags, "a")
    seen = admin.get(f"{flags}/a").body["environments"]["production"]["revision"]

    def configure(if_match: str) -> Any:
        return admin.send("PUT", place, {"enabled": True, "rules": [{"id": "mine"}]}, headers={"If-Match": if_match})

    admin.post(f"{place}/rollout", {"percentage": 10})
    refused = configure(f'"{seen}"')
    assert refused.status == 412
    assert "initial" in refused.body["detail"]
    assert admin.get(f"{flags}/a").body["environments"]["production"]["rules"][0]["rollout"] == {"percentage": 10.0}
    # What happens to others, or to this flag elsewhere, is no reason to refuse.
    admin.post(flags, {"key": "b"})
    admin.post(f"{_in(flags, 'a', 'staging')}/on")
    assert configure(f'"{seen + 1}"').body["changed"]
    assert configure("*").status == 200
    for nonsense in ("12", 'W/"12"', '"x"'):
        assert configure(nonsense).body["field"] == "If-Match"
