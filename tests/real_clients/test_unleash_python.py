"""Unleash's SDKs for Python, with one URL and one key changed: as far as they show it, nothing else has."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from processes import ServerProcess, running_server, wait_for
from real_clients.client_process import Client
from real_clients.clients import OLD_PYTHON, PYTHON
from real_clients.conftest import ClientProcesses
from server_commands import program

pytestmark = pytest.mark.xdist_group("changes to real clients")

ALL_WAYS = pytest.mark.parametrize(
    ("name", "mode"), [(PYTHON, "polling"), (PYTHON, "streaming"), (OLD_PYTHON, "polling")]
)


def shows(client: Client, flag: str, enabled: bool) -> None:
    wait_for(lambda: client.is_enabled(flag, userId="ada") is enabled, f"{flag} to be {enabled}")


def some_flag(server: ServerProcess, **fields: Any) -> str:
    key = f"flag-{uuid.uuid4().hex[:8]}"
    server.admin.create_flag(key, **fields)
    return key


@ALL_WAYS
def test_they_answer_what_is_configured_and_follow_it(
    name: str, mode: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    variants = [{"name": "red", "value": {"hex": "#f00"}}, {"name": "grey", "value": {"hex": "#888"}}]
    flag = some_flag(server, type="object", variants=variants, off_variant="grey")
    segment = f"staff-{flag}"
    server.admin.ok("POST", "/projects/default/segments", {"key": segment, "targeting_keys": ["ada", "grace"]})
    rule = {"segments": [segment], "constraints": [{"attribute": "plan", "operator": "in", "values": ["pro"]}]}
    path = f"/projects/default/flags/{flag}/environments/production"
    server.admin.ok("PUT", path, {"enabled": True, "rules": [{**rule, "variant": "red"}]})
    client = clients[name].create(server.url, server.sdk_key(), mode=mode, refresh=1)

    def sees() -> list[bool]:
        asked = [("ada", "pro"), ("ada", "free"), ("eve", "pro")]
        contexts = [{"userId": user, "properties": {"plan": plan}} for user, plan in asked]
        return [bool(answer) for answer in client.answers([("is enabled", flag, context) for context in contexts])]

    wait_for(lambda: sees() == [True, False, False], "ada alone to see it")
    [variant] = client.answers([("get variant", flag, {"userId": "ada", "properties": {"plan": "pro"}})])
    assert (variant["name"], variant["enabled"]) == ("red", True)
    assert variant["payload"] == {"type": "json", "value": '{"hex":"#f00"}'}

    server.admin.verb(flag, "off")
    wait_for(lambda: not any(sees()), "nobody to see it")
    [variant] = client.answers([("get variant", flag, {"userId": "ada", "properties": {"plan": "pro"}})])
    assert (variant["name"], variant["enabled"]) == ("disabled", False)
    client.close()


@ALL_WAYS
def test_a_revoked_key_takes_no_flags_away(
    name: str, mode: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    flag = some_flag(server)
    server.admin.verb(flag, "on")
    made = server.admin.ok("POST", "/projects/default/keys", {"name": flag, "environment": "production"})
    client = clients[name].create(server.url, made["secret"], mode=mode, refresh=1)
    shows(client, flag, True)
    before = len(server.log.read_text())

    server.admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
    path = "/api/client/features" if mode == "polling" else "/api/client/streaming"
    refusal = f'"path": "{path}", "status": 401'
    wait_for(lambda: refusal in server.log.read_text()[before:], "it to be refused")
    server.admin.verb(flag, "off")
    assert client.is_enabled(flag, userId="ada"), "what it had is all that it can know"
    client.close()


def test_a_restored_database_is_followed_to_lower_revisions(tmp_path: Path, clients: ClientProcesses) -> None:
    with running_server(tmp_path / "server", FADER_POLL_SECONDS="0.1") as server:
        url, file = f"sqlite:///{server.database}", str(tmp_path / "backup.db")
        server.admin.create_flag("checkout")
        server.admin.verb("checkout", "on")
        assert program("backup", file, DATABASE_URL=url).code == 0
        for verb in ("off", "on", "off"):
            server.admin.verb("checkout", verb)
        both = [
            clients[PYTHON].create(server.url, server.sdk_key(), mode=mode, refresh=1)
            for mode in ("polling", "streaming")
        ]
        for client in both:
            shows(client, "checkout", False)

        assert program("restore", file, DATABASE_URL=url).code == 0
        for client in both:
            shows(client, "checkout", True)
        server.admin.verb("checkout", "off")
        for client in both:
            shows(client, "checkout", False)
            client.close()


@ALL_WAYS
def test_they_are_listed_and_their_evaluations_counted(
    name: str, mode: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    flag = some_flag(server)
    revision = server.admin.verb(flag, "on")["revision"]
    sdk, _, version = ("unleash-python-sdk" if name == PYTHON else "unleash-client-python"), *name.rpartition(" ")[1:]
    client = clients[name].create(server.url, server.sdk_key(), mode=mode, refresh=1)
    shows(client, flag, True)

    def listed() -> list[Any]:
        found = server.admin.ok("GET", "/projects/default/environments/production/clients")["items"]
        return [one for one in found if one["sdk"] == sdk and one["revision"] == revision]

    [one] = wait_for(listed, "it to be listed")
    assert (one["app"], one["sdk_version"], one["transport"]) == ("real-clients", version, "poll")

    asked = len(client.answers([("is enabled", flag, {"userId": "ada"})] * 5))
    client.ask("flush")
    usage = server.admin.ok("GET", f"/projects/default/flags/{flag}/usage")["items"]
    # It may have been asked before it had heard that the flag is on.
    assert sum(one["count"] for one in usage if one["variant"] == "on") > asked
    client.close()
