"""What people do with ramps, and what they are told when it cannot be done."""

from typing import Any

import pytest

from admin_server import AdminClient

PLAN: dict[str, Any] = {
    "steps": [{"percentage": 1}, {"percentage": 10, "needs_approval": True}, {"percentage": 100}],
    "guards": [{"id": "checkout", "metric": "checkout"}],
}


def in_production(flag: str) -> str:
    return f"/projects/default/flags/{flag}/environments/production"


def configuration(admin: AdminClient, flag: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"/projects/default/flags/{flag}").body["environments"]["production"]
    return found


def history(admin: AdminClient, flag: str) -> list[tuple[str, str]]:
    found = admin.get(f"/projects/default/changes?flag={flag}&environment=production").body["items"]
    return [(change["kind"], change["action"]) for change in found]


@pytest.fixture
def ramp(admin: AdminClient, flag: str) -> str:
    answer = admin.post(f"{in_production(flag)}/ramp", PLAN | {"reason": "it is time"})
    assert answer.status == 201, answer
    return f"{in_production(flag)}/ramp"


def test_a_ramp_begins_with_its_first_step(admin: AdminClient, flag: str, ramp: str) -> None:
    found = admin.get(ramp).body
    assert (found["status"], found["step"], found["percentage"], found["reason"]) == ("running", 1, 1, "it is time")
    assert found["plan"]["steps"][1] == {
        "percentage": 10, "hold_seconds": 600, "least_exposed": 100, "needs_approval": True,
    }  # fmt: skip
    [guard] = found["guards"]
    assert (guard["verdict"], guard["threshold"], guard["treatment"]) == (
        "inconclusive", pytest.approx(40), {"exposed": 0, "failed": 0},
    )  # fmt: skip
    now = configuration(admin, flag)
    [rule] = now["rules"]
    assert (now["enabled"], now["ramp"], rule["rollout"]) == (True, found["id"], {"percentage": 1})
    assert found["plan"]["rule"] == rule["id"]
    assert history(admin, flag) == [("ramp", "started"), ("flag", "on"), ("flag", "created")]


def test_sdks_learn_what_to_record_with_the_revision_from_which_they_should(
    admin: AdminClient, flag: str, ramp: str
) -> None:
    change = admin.get(f"/projects/default/changes?flag={flag}&environment=production").body["items"][0]
    [guard] = change["after"]["guards"]
    assert guard["id"] == f"{admin.get(ramp).body['id']}.0.checkout"
    assert (guard["metric"], len(guard["hash_key"])) == ("checkout", 32)
    assert admin.post(f"{ramp}/advance").status == 200
    change = admin.get(f"/projects/default/changes?flag={flag}&environment=production").body["items"][0]
    [other] = change["after"]["guards"]
    assert other["hash_key"] != guard["hash_key"]
    assert admin.post(f"{ramp}/abort", {}).status == 200
    change = admin.get(f"/projects/default/changes?flag={flag}&environment=production").body["items"][0]
    assert change["after"]["guards"] == []


def test_while_it_bakes_users_are_hashed_as_in_the_last_step_or_they_would_count_twice(
    admin: AdminClient, flag: str, ramp: str
) -> None:
    def guards() -> list[dict[str, Any]]:
        change = admin.get(f"/projects/default/changes?flag={flag}&environment=production").body["items"][0]
        return list(change["after"]["guards"])

    for _ in range(2):
        assert admin.post(f"{ramp}/advance").body["ramp"]["status"] == "running"
    before = guards()
    assert admin.post(f"{ramp}/advance").body["ramp"]["status"] == "baking"
    assert guards() == before != []


def test_all_the_way_up_by_hand(admin: AdminClient, flag: str, ramp: str) -> None:
    statuses = [admin.post(f"{ramp}/advance").body["ramp"]["status"] for _ in range(4)]
    assert statuses == ["running", "running", "baking", "released"]
    now = configuration(admin, flag)
    assert (now["enabled"], now["ramp"], now["rules"][0].get("rollout")) == (True, None, None)
    assert admin.get(ramp).body["status"] == "released"
    assert admin.post(f"{ramp}/advance").status == 404


def test_pausing_and_going_on(admin: AdminClient, ramp: str) -> None:
    paused = admin.post(f"{ramp}/pause", {"reason": "lunch"}).body["ramp"]
    assert (paused["status"], paused["why"], paused["earliest"]) == ("paused", "paused by initial", None)
    assert admin.post(f"{ramp}/resume").body["ramp"]["status"] == "running"
    assert admin.post(f"{ramp}/approve").body["ramp"]["is_approved"]


def test_switching_off_by_hand_ends_it_at_once(admin: AdminClient, flag: str, ramp: str) -> None:
    answer = admin.post(f"{in_production(flag)}/off", {"reason": "INC-731"})
    assert answer.status == 200
    found = admin.get(ramp).body
    assert (found["status"], found["why"]) == ("aborted", "switched off by initial: INC-731")
    assert configuration(admin, flag)["ramp"] is None
    assert history(admin, flag)[:2] == [("flag", "off"), ("ramp", "aborted")]
    # It is the newest revision, so that whoever waits for it waits for everything.
    assert answer.body["revision"] == admin.get("/projects/default/environments/production").body["revision"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/rollout", {"percentage": 3}),
        ("POST", "/rules", {"rollout": {"percentage": 50}}),
        ("PUT", "", {"enabled": True}),
        ("POST", "/undo", {}),
    ],
)
def test_other_changes_by_hand_must_be_meant(
    admin: AdminClient, flag: str, ramp: str, method: str, path: str, body: Any
) -> None:
    before = configuration(admin, flag)
    refused = admin.send(method, f"{in_production(flag)}{path}", body)
    assert refused.status == 409
    assert "is in a ramp" in refused.body["detail"]
    assert "force=true" in refused.body["hint"]
    assert configuration(admin, flag) == before
    if path == "/undo":  # which goes back to off
        return
    assert admin.send(method, f"{in_production(flag)}{path}?force=true", body).status in (200, 201)
    found = admin.get(ramp).body
    assert (found["status"], found["why"]) == ("held", "the flag was changed by initial")


def test_another_environment_is_nobodys_business(admin: AdminClient, flag: str, ramp: str) -> None:
    elsewhere = f"/projects/default/flags/{flag}/environments/staging"
    assert admin.post(f"{elsewhere}/rollout", {"percentage": 3}).status == 200
    assert admin.get(f"{elsewhere}/ramp").status == 404
    assert admin.get(ramp).body["status"] == "running"


def test_archiving_ends_it(admin: AdminClient, flag: str, ramp: str) -> None:
    assert admin.post(f"/projects/default/flags/{flag}/archive").status == 200
    assert admin.get(ramp).body["status"] == "aborted"


def test_a_flag_is_in_one_ramp_at_a_time(admin: AdminClient, flag: str, ramp: str) -> None:
    refused = admin.post(ramp, PLAN)
    assert refused.status == 409
    assert "already" in refused.body["detail"]
    aborted = admin.post(f"{ramp}/abort", {"off": True, "reason": "not today"}).body["ramp"]
    assert (aborted["status"], aborted["why"]) == ("aborted", "aborted by initial: not today")
    assert not configuration(admin, flag)["enabled"]
    assert admin.post(ramp, PLAN).status == 201


def test_nobody_loses_it_by_the_beginning_of_a_ramp(admin: AdminClient, flag: str) -> None:
    for verb, body in (("on", {}), ("rollout", {"percentage": 10})):
        assert admin.post(f"{in_production(flag)}/{verb}", body).status == 200
    before = configuration(admin, flag)
    refused = admin.post(f"{in_production(flag)}/ramp", PLAN)
    assert refused.status == 409
    assert "10 % have" in refused.body["detail"]
    assert configuration(admin, flag) == before
    higher = PLAN | {"steps": [{"percentage": 10}, {"percentage": 100}]}
    assert admin.post(f"{in_production(flag)}/ramp", higher).status == 201


@pytest.mark.parametrize(
    ("traffic", "field"),
    [
        ({"users_per_hour": 1e308, "failing": 0.01}, "traffic.users_per_hour"),
        ({"users_per_hour": -1, "failing": 0.01}, "traffic.users_per_hour"),
        ({"users_per_hour": 10, "failing": 1.5}, "traffic.failing"),
    ],
)
def test_assumptions_that_cannot_be_are_refused(
    admin: AdminClient, flag: str, traffic: dict[str, float], field: str
) -> None:
    refused = admin.post(f"{in_production(flag)}/ramp/plan", PLAN | {"traffic": traffic})
    assert (refused.status, refused.body["field"]) == (422, field)


def test_a_dry_run_starts_nothing(admin: AdminClient, flag: str) -> None:
    path = f"{in_production(flag)}/ramp"
    answer = admin.post(f"{path}?dry_run=true", PLAN)
    assert (answer.status, answer.body["ramp"]["status"]) == (201, "running")
    assert admin.get(path).status == 404
    assert not configuration(admin, flag)["enabled"]


def test_a_rule_of_ones_own_may_be_raised(admin: AdminClient, flag: str) -> None:
    rule = {"constraints": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}
    assert (
        admin.post(f"{in_production(flag)}/rules", rule | {"id": "germans", "rollout": {"percentage": 0}}).status == 201
    )
    assert admin.post(f"{in_production(flag)}/ramp", PLAN | {"rule": "germans"}).status == 201
    [found] = configuration(admin, flag)["rules"]
    assert (found["id"], found["rollout"]) == ("germans", {"percentage": 1})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"percentage": 10}, {"percentage": 10}]}, "steps[1].percentage"),
        ({"steps": [{"percentage": 0}]}, "steps[0].percentage"),
        ({"steps": [{"percentage": 101}]}, "steps[0].percentage"),
        ({"steps": [{"percentage": 1, "hold_seconds": -1}]}, "steps[0].hold_seconds"),
        ({"steps": [{"percentage": 1, "least_exposed": -1}]}, "steps[0].least_exposed"),
        ({"bake_seconds": 1e10}, "bake_seconds"),
        ({"alpha": 0}, "alpha"),
        ({"guards": [{"id": "a b", "metric": "x"}]}, "guards[0].id"),
        ({"guards": [{"id": "a", "metric": ""}]}, "guards[0].metric"),
        ({"guards": [{"id": "a", "metric": "x", "margin": -1}]}, "guards[0].margin"),
        ({"guards": [{"id": "a", "metric": "x", "slower_than_ms": 5}]}, "guards[0].slower_than_ms"),
        ({"guards": [{"id": "a", "metric": "x"}, {"id": "a", "metric": "y"}]}, "guards[1]"),
        ({"prometheus": [{"id": "a", "query": "up", "max": 1}]}, "prometheus"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "deadline"),
        ({"deadline": "2050-01-01T00:00:00"}, "deadline"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_is_wrong_with_it(
    admin: AdminClient, flag: str, changed: dict[str, Any], field: str
) -> None:
    refused = admin.post(f"{in_production(flag)}/ramp", PLAN | changed)
    assert refused.status == 422
    assert refused.body["field"] == field
    assert not configuration(admin, flag)["enabled"]


@pytest.mark.parametrize(
    ("path", "named"), [("flags/none/environments/production", "none"), ("flags/{}/environments/none", "none")]
)
def test_what_is_not_there_has_no_ramp(admin: AdminClient, flag: str, path: str, named: str) -> None:
    for answer in (
        admin.get(f"/projects/default/{path.format(flag)}/ramp"),
        admin.post(f"/projects/default/{path.format(flag)}/ramp", PLAN),
        admin.post(f"/projects/default/{path.format(flag)}/ramp/pause"),
    ):
        assert answer.status == 404
        assert named in answer.body["detail"]


def test_who_may_only_look_moves_nothing(admin: AdminClient, ramp: str) -> None:
    issued = admin.post("/tokens", {"name": "reader", "role": "viewer"})
    reader = admin.as_token(issued.body["secret"])
    assert reader.get(ramp).status == 200
    for verb in ("pause", "resume", "advance", "approve", "abort"):
        assert reader.post(f"{ramp}/{verb}").status == 403
    assert reader.post(ramp, PLAN).status == 403


def test_the_ramps_of_a_project_are_listed(admin: AdminClient, flag: str, ramp: str) -> None:
    admin.post(f"{ramp}/abort")
    admin.post(ramp, PLAN)
    listed = [(one["flag"], one["status"]) for one in admin.all("/projects/default/ramps") if one["flag"] == flag]
    assert sorted(listed) == [(flag, "aborted"), (flag, "running")]


def test_a_plan_can_be_looked_at_first(admin: AdminClient, flag: str) -> None:
    path = f"{in_production(flag)}/ramp/plan"
    blind = admin.post(path, PLAN).body
    assert blind["seconds"] == 3 * 600 + 1800
    assert blind["traffic"] is None
    assert [step["smallest_lift"] for step in blind["steps"]] == [None] * 3
    traffic = {"users_per_hour": 6_000, "failing": 0.01}
    seeing = admin.post(path, PLAN | {"traffic": traffic}).body
    # A hundred users at 1 % are ten thousand in all: 100 minutes instead of ten.
    assert [round(step["seconds"]) for step in seeing["steps"]] == [6_000, 600, 600]
    assert [step["exposed"] for step in seeing["steps"]] == [100, 100, 1_000]
    lifts = [step["smallest_lift"] for step in seeing["steps"]]
    assert lifts[2] is None
    assert 2 < lifts[0] < 20
    assert admin.get(f"{in_production(flag)}/ramp").status == 404
