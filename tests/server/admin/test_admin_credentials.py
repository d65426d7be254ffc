"""SDK keys and admin tokens through the admin API: shown once, kept as digests, gone at once when revoked."""

import asyncio
import logging
from pathlib import Path

import pytest

from admin_server import AdminClient, AdminServer, running_admin_server
from fader_server.bus import CredentialRevoked


def test_a_key_is_shown_once(admin: AdminClient, project: str) -> None:
    created = admin.post(f"/projects/{project}/keys", {"name": "shop", "environment": "production"})
    assert created.status == 201
    secret = created.body["secret"]
    assert secret.startswith(f"{project}:production.")
    assert len(secret.rpartition(".")[2]) == 64
    [listed] = admin.get(f"/projects/{project}/keys").body["items"]
    assert listed == {key: value for key, value in created.body.items() if key != "secret"}
    assert (listed["kind"], listed["revoked_at"], listed["expires_at"]) == ("server", None, None)
    assert secret.startswith(listed["prefix"].removesuffix("…"))


def test_a_client_key_is_made_on_request(admin: AdminClient, project: str) -> None:
    created = admin.post(f"/projects/{project}/keys", {"name": "web", "environment": "production", "kind": "client"})
    assert (created.status, created.body["kind"]) == (201, "client")
    assert created.body["secret"].startswith(f"{project}:production.client-")
    [listed] = admin.get(f"/projects/{project}/keys").body["items"]
    assert (listed["kind"], listed["prefix"][:-5]) == ("client", f"{project}:production.client-")
    assert admin.as_token(created.body["secret"]).get("/whoami").status == 403


def test_a_revoked_key_stays_in_the_list_and_is_announced(
    server: AdminServer, admin: AdminClient, project: str
) -> None:
    key = admin.post(f"/projects/{project}/keys", {"name": "shop", "environment": "staging"}).body

    async def revoked() -> object:
        async with server.services.bus.subscribe() as messages:
            assert (await server.services.access.sdk_principal(f"Bearer {key['secret']}")).key_id == key["id"]
            deleted = await asyncio.to_thread(admin.delete, f"/projects/{project}/keys/{key['id']}")
            assert deleted.status == 204
            with pytest.raises(Exception, match="revoked"):
                await server.services.access.sdk_principal(f"Bearer {key['secret']}")
            return await anext(messages)

    assert server.call(revoked) == CredentialRevoked(key["id"])
    [listed] = admin.get(f"/projects/{project}/keys").body["items"]
    assert listed["revoked_at"] is not None
    assert admin.delete(f"/projects/{project}/keys/{key['id']}").status == 204
    assert admin.delete(f"/projects/{project}/keys/nothing").status == 404
    assert admin.delete(f"/projects/default/keys/{key['id']}").status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "environment": "production"}, "name"),
        ({"name": "a\nb", "environment": "production"}, "name"),
        ({"name": "a", "environment": "prod"}, "environment"),
        ({"name": "a", "environment": "production", "kind": "browser"}, "kind"),
        ({"name": "a", "environment": "production", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "environment": "production", "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "a", "environment": "production", "expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_wrong_key_is_refused(admin: AdminClient, project: str, body: dict[str, str], field: str) -> None:
    refused = admin.post(f"/projects/{project}/keys", body)
    assert (refused.status, refused.body["field"]) == (422, field)


def test_a_token_is_shown_once_and_works_until_it_is_deleted(admin: AdminClient) -> None:
    created = admin.post("/tokens", {"name": "ci", "role": "editor", "environments": ["staging", "staging"]})
    assert created.status == 201
    token = created.body
    assert token["environments"] == ["staging"]
    [listed] = [one for one in admin.all("/tokens") if one["id"] == token["id"]]
    assert listed == {key: value for key, value in token.items() if key != "secret"}
    ci = admin.as_token(token["secret"])
    assert ci.get("/whoami").body["name"] == "ci"
    assert admin.delete(f"/tokens/{token['id']}").status == 204
    assert ci.get("/whoami").status == 401
    assert admin.delete(f"/tokens/{token['id']}").status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a", "role": "root"}, "role"),
        ({"name": " ", "role": "viewer"}, "name"),
        ({"name": "a", "role": "viewer", "projects": [""]}, "projects[0]"),
        ({"name": "a", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "role": "viewer", "expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    ],
)
def test_a_wrong_token_is_refused(admin: AdminClient, body: dict[str, object], field: str) -> None:
    refused = admin.post("/tokens", body)
    assert (refused.status, refused.body["field"]) == (422, field)


def test_no_secret_is_kept_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), running_admin_server(tmp_path) as server:
        admin = AdminClient(server.url)
        secrets = [
            admin.post("/projects/default/keys", {"name": "a", "environment": "production"}).body["secret"],
            admin.post("/tokens", {"name": "a", "role": "viewer"}).body["secret"],
        ]
        admin.as_token(secrets[1]).get("/whoami")
        admin.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in secrets:
        hidden = secret.rpartition(".")[2].removeprefix("fader_")
        assert hidden.encode() not in kept
        assert hidden not in caplog.text
