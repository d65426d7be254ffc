"""Projects, environments and segments through the admin API."""

from admin_server import AdminClient


def test_a_project_begins_with_three_environments(admin: AdminClient) -> None:
    created = admin.post("/projects", {"key": "shop", "description": "The shop"})
    assert created.status == 201
    assert admin.get("/projects/shop").body == created.body
    environments = admin.get("/projects/shop/environments").body["items"]
    assert [(one["key"], one["revision"]) for one in environments] == [
        ("development", 1),
        ("production", 1),
        ("staging", 1),
    ]
    assert len({one["epoch"] for one in environments}) == 3
    assert admin.post("/projects", {"key": "shop"}).status == 409
    assert admin.post("/projects", {"key": "the shop"}).body["field"] == "key"
    assert admin.patch("/projects/shop", {"description": "Ours"}).body["description"] == "Ours"
    assert admin.get("/projects/shopp").body["suggestions"] == ["shop"]


def test_projects_come_in_pages(admin: AdminClient) -> None:
    for number in range(3):
        admin.post("/projects", {"key": f"page-{number}"})
    first = admin.get("/projects?limit=2").body
    rest = admin.get(f"/projects?limit=500&cursor={first['next_cursor']}").body
    assert [one["key"] for one in first["items"] + rest["items"]] == [one["key"] for one in admin.all("/projects")]


def test_a_project_goes_once_its_flags_are_archived(admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/flags", {"key": "a"})
    admin.post(f"/projects/{project}/segments", {"key": "s"})
    admin.post(f"/projects/{project}/keys", {"name": "k", "environment": "staging"})
    refused = admin.delete(f"/projects/{project}")
    assert refused.status == 409
    assert "1 flag" in refused.body["detail"]
    admin.post(f"/projects/{project}/flags/a/archive")
    assert admin.delete(f"/projects/{project}?reason=done").status == 204
    assert admin.get(f"/projects/{project}").status == 404
    assert admin.get(f"/projects/{project}/changes").status == 404


def test_an_environment_made_anew_begins_afresh(admin: AdminClient, project: str) -> None:
    environments = f"/projects/{project}/environments"
    admin.post(f"/projects/{project}/flags", {"key": "a"})
    created = admin.post(environments, {"key": "canary"})
    assert (created.status, created.body["revision"]) == (201, 1)
    assert admin.post(environments, {"key": "canary"}).status == 409
    admin.post(f"/projects/{project}/flags/a/environments/canary/on")
    assert admin.get(f"{environments}/canary").body["revision"] == 2
    assert admin.delete(f"{environments}/canary?reason=done").status == 204
    assert admin.get(f"{environments}/canary").status == 404
    assert "canary" not in admin.get(f"/projects/{project}/flags/a").body["environments"]
    anew = admin.post(environments, {"key": "canary"}).body
    assert anew["revision"] == 1
    assert anew["epoch"] != created.body["epoch"]
    assert not admin.get(f"/projects/{project}/flags/a").body["environments"]["canary"]["enabled"]
    # What happened in its former life is still told.
    told = [(one["revision"], one["action"]) for one in admin.all(f"/projects/{project}/changes?environment=canary")]
    assert told == [(1, "created"), (3, "deleted"), (2, "on"), (1, "created")]


def test_an_unknown_environment_brings_those_that_there_are(admin: AdminClient, project: str) -> None:
    missing = admin.post(f"/projects/{project}/flags/a/environments/prod/on")
    assert missing.status == 404
    assert "production" in missing.body["suggestions"]


def test_a_segment_keeps_its_number(admin: AdminClient, project: str) -> None:
    segments = f"/projects/{project}/segments"
    constraint = {"attribute": "plan", "operator": "in", "values": ["beta"]}
    created = admin.post(
        segments, {"key": "beta", "description": "Testers", "constraints": [constraint], "targeting_keys": ["u1"]}
    )
    assert created.status == 201
    segment = created.body
    assert (segment["constraints"], segment["targeting_keys"], segment["used_by"]) == ([constraint], ["u1"], [])
    assert admin.get(f"{segments}/beta").body == segment
    replaced = admin.put(f"{segments}/beta", {"targeting_keys": ["u1", "u2"]}).body
    assert (replaced["id"], replaced["description"], replaced["constraints"]) == (segment["id"], "", [])
    assert admin.post(segments, {"key": "beta"}).status == 409
    assert admin.delete(f"{segments}/beta").status == 204
    assert admin.post(segments, {"key": "beta"}).body["id"] > segment["id"]


def test_a_segment_in_use_cannot_go(admin: AdminClient, project: str) -> None:
    admin.post(f"/projects/{project}/segments", {"key": "beta"})
    for flag in ("a", "b"):
        admin.post(f"/projects/{project}/flags", {"key": flag})
        admin.post(f"/projects/{project}/flags/{flag}/environments/staging/rules", {"segments": ["beta"]})
    [listed] = admin.get(f"/projects/{project}/segments").body["items"]
    assert listed["used_by"] == ["a", "b"]
    assert admin.get(f"/projects/{project}/segments/beta").body == listed
    refused = admin.delete(f"/projects/{project}/segments/beta")
    assert refused.status == 409
    assert "a, b" in refused.body["detail"]


def test_a_segment_is_refused_by_the_path_of_its_fault(admin: AdminClient, project: str) -> None:
    segments = f"/projects/{project}/segments"
    for body, field in (
        ({"key": "a b"}, "key"),
        (
            {"key": "s", "constraints": [{"attribute": "x", "operator": "<", "values": ["y"]}]},
            "constraints[0].values[0]",
        ),
        ({"key": "s", "targeting_keys": ["a", ""]}, "targeting_keys[1]"),
        ({"key": "s", "targeting_keys": ["a", "a"]}, "targeting_keys[1]"),
        ({"key": "s", "targeting_keys": [1]}, "targeting_keys[0]"),
    ):
        refused = admin.post(segments, body)
        assert (refused.status, refused.body["field"]) == (422, field)


def test_a_segment_takes_a_hundred_thousand_keys(admin: AdminClient, project: str) -> None:
    keys = [f"user-{number:012}" for number in range(100_000)]
    created = admin.post(f"/projects/{project}/segments", {"key": "many", "targeting_keys": keys})
    assert created.status == 201
    assert (created.body["targeting_keys"], created.body["members"]["count"]) == ([], 100_000)


def test_a_segment_that_becomes_what_it_is_uses_no_revision(admin: AdminClient, project: str) -> None:
    segments = f"/projects/{project}/segments"
    admin.post(segments, {"key": "s", "targeting_keys": ["a"]})
    before = admin.all(f"/projects/{project}/changes")
    assert admin.put(f"{segments}/s", {"targeting_keys": ["a"]}).status == 200
    assert admin.all(f"/projects/{project}/changes") == before
