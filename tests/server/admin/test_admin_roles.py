"""Who may do what: every operation of the admin API against every kind of token."""

import re
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from admin_server import ADMIN_TOKEN, AdminClient, AdminServer
from fader_server.api.admin import routes
from fader_server.api.guards import OPTION, Needs

RANK = {"viewer": 0, "editor": 1, "admin": 2}


def _operations() -> dict[str, tuple[str, str, Needs]]:
    """Method, path and needs of every operation, as they are mounted."""
    found = {}
    app = Litestar(route_handlers=routes, openapi_config=None, logging_config=None)
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            assert isinstance(handler, HTTPRouteHandler)
            for method in handler.http_methods - {"OPTIONS"}:
                found[str(handler.operation_id)] = (
                    str(method),
                    route.path_format.removeprefix("/api/v1"),
                    handler.opt[OPTION],
                )
    return found


OPERATIONS = _operations()

# Written down a second time, on purpose: whoever changes who may do what changes it here as well.
EXPECTED = {
    ("viewer", "server"): {"whoami", "list_projects", "stream_changes"},
    ("viewer", "project"): {
        "get_project", "list_environments", "list_flags", "get_flag", "flag_usage", "list_segments", "get_segment",
        "list_changes", "list_members", "list_ramps",
    },
    ("viewer", "environment"): {
        "get_environment", "explain_flag", "get_compatibility", "get_acknowledgements", "list_clients",
        "get_ramp", "preview_ramp", "list_hooks", "export_flags",
    },
    ("editor", "whole project"): {
        "create_flag", "patch_flag", "delete_flag", "archive_flag", "unarchive_flag", "create_segment",
        "replace_segment", "delete_segment", "replace_members", "edit_members", "import_flags",
    },
    ("editor", "environment"): {
        "configure_flag", "switch_on", "switch_off", "roll_out", "undo", "add_rule", "replace_rule", "remove_rule",
        "start_ramp", "pause_ramp", "resume_ramp", "advance_ramp", "approve_ramp", "abort_ramp",
        "create_hook", "delete_hook",
    },
    ("admin", "project"): {"list_keys", "create_key", "revoke_key"},
    ("admin", "whole project"): {"describe_project", "delete_project", "create_environment"},
    ("admin", "environment"): {"delete_environment"},
    ("admin", "whole server"): {"create_project", "list_tokens", "create_token", "delete_token"},
}  # fmt: skip


def test_every_operation_says_who_may() -> None:
    declared: dict[tuple[str, str], set[str]] = {}
    for operation, (_, _, needs) in OPERATIONS.items():
        declared.setdefault((needs.role, needs.scope), set()).add(operation)
    assert declared == EXPECTED


@pytest.fixture(scope="module")
def tokens(admin: AdminClient) -> dict[str, AdminClient]:
    """One token of each kind."""
    kinds: dict[str, dict[str, Any]] = {role: {"role": role} for role in RANK}
    kinds |= {f"{role} of mine": {"role": role, "projects": ["mine"]} for role in RANK}
    kinds |= {f"{role} of staging": {"role": role, "environments": ["staging"]} for role in RANK}
    return {
        kind: admin.as_token(admin.post("/tokens", {"name": kind} | body).body["secret"])
        for kind, body in kinds.items()
    }


def _allowed(kind: str, needs: Needs, project: str, environment: str) -> bool:
    role, _, scope = kind.partition(" of ")
    if RANK[role] < RANK[needs.role]:
        return False
    if needs.scope == "server" or not scope:
        return True
    if needs.scope == "whole server":
        return False
    if scope == "mine":
        return project == "mine"
    return needs.scope == "project" or (needs.scope == "environment" and environment == "staging")


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_tokens_may_do_what_their_role_and_scope_say(
    tokens: dict[str, AdminClient], admin: AdminClient, operation: str
) -> None:
    method, path, needs = OPERATIONS[operation]
    for project in ("mine", "theirs"):
        for environment in ("staging", "production"):
            concrete = path.replace("{project}", project).replace("{environment}", environment)
            concrete = re.sub(r"\{\w+\}", "nothing", concrete)
            # None of these exist, so whoever is let in writes nothing; a stream would never end by itself.
            if operation == "stream_changes":
                concrete += "?project=nowhere"
            for kind, client in tokens.items():
                answer = client.send(method, concrete)
                if _allowed(kind, needs, project, environment):
                    assert answer.status not in (401, 403) or "nowhere" in concrete, (kind, concrete, answer)
                else:
                    assert answer.status == 403, (kind, concrete, answer)
                    assert answer.body["type"] == "urn:fader:problem:forbidden"
    for stranger in (None, "fader_" + "f" * 64, "x"):
        answer = admin.as_token(stranger).send(method, path.replace("{", "").replace("}", ""))
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_sdk_key_is_of_the_wrong_kind(admin: AdminClient) -> None:
    key = admin.post("/projects/default/keys", {"name": "shop", "environment": "production"}).body["secret"]
    answer = admin.as_token(key).get("/whoami")
    assert answer.status == 403
    assert "SDK key" in answer.body["detail"]


def test_answers_hold_only_what_the_token_may_see(
    admin: AdminClient, project: str, tokens: dict[str, AdminClient]
) -> None:
    of_staging = tokens["viewer of staging"]
    admin.post(f"/projects/{project}/flags", {"key": "a"})
    assert list(of_staging.get(f"/projects/{project}/flags/a").body["environments"]) == ["staging"]
    assert [one["key"] for one in of_staging.get(f"/projects/{project}/environments").body["items"]] == ["staging"]
    assert {one["environment"] for one in of_staging.all(f"/projects/{project}/changes")} == {"staging"}
    assert of_staging.get(f"/projects/{project}/changes?environment=production").status == 403
    assert of_staging.get(f"/projects/{project}/flags/a/usage?environment=production").status == 403
    assert tokens["viewer of mine"].get("/projects").body["items"] == []
    for environment in ("staging", "production"):
        admin.post(f"/projects/{project}/keys", {"name": "k", "environment": environment})
    of_staging = tokens["admin of staging"]
    assert {key["environment"] for key in of_staging.get(f"/projects/{project}/keys").body["items"]} == {"staging"}
    assert of_staging.post(f"/projects/{project}/keys", {"name": "k", "environment": "production"}).status == 403
    [theirs] = [key for key in admin.all(f"/projects/{project}/keys") if key["environment"] == "production"]
    assert of_staging.delete(f"/projects/{project}/keys/{theirs['id']}").status == 403


def test_the_guard_comes_before_the_body(admin: AdminClient, tokens: dict[str, AdminClient]) -> None:
    assert tokens["viewer"].send("POST", "/tokens", raw=b"{").status == 403


def test_whoami(server: AdminServer, tokens: dict[str, AdminClient]) -> None:
    me = tokens["editor of staging"].get("/whoami").body
    assert me.pop("server_version")
    assert me == {"name": "editor of staging", "role": "editor", "projects": [], "environments": ["staging"]}
    assert AdminClient(server.url, ADMIN_TOKEN).get("/whoami").body["name"] == "initial"
