"""What clients of others report of themselves, and what they are told who have a key of the wrong kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import ServerProcess, running_server, wait_for
from real_clients.clients import BROWSER, NODE, PYTHON
from real_clients.conftest import ClientProcesses

pytestmark = pytest.mark.xdist_group("reports of real clients")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("reports") / "server") as server:
        yield server


def new_client_key(server: ServerProcess) -> str:
    wanted = {"name": "a browser", "environment": "production", "kind": "client"}
    return str(server.admin.ok("POST", "/projects/default/keys", wanted)["secret"])


def counts(server: ServerProcess, flag: str) -> dict[str, int]:
    """How often each variant was served."""
    found: dict[str, int] = {}
    for item in server.admin.ok("GET", f"/projects/default/flags/{flag}/usage")["items"]:
        found[item["variant"]] = found.get(item["variant"], 0) + item["count"]
    return found


def test_what_was_evaluated_in_node_is_counted(server: ServerProcess, clients: ClientProcesses) -> None:
    server.admin.create_flag("in-node")
    server.admin.verb("in-node", "on")
    client = clients[NODE].create(server.url, server.sdk_key(), mode="streaming")
    wait_for(lambda: client.is_enabled("in-node", userId="7"), "the flag")
    client.ask("flush")
    before = wait_for(lambda: counts(server, "in-node").get("on"), "what was counted until now")

    client.answers([("is enabled", "in-node", {"userId": "7"}), ("get variant", "in-node", {"userId": "8"})])
    client.ask("flush")

    wait_for(lambda: counts(server, "in-node")["on"] == before + 2, "two more")
    client.close()


def test_what_a_browser_evaluated_is_counted(tmp_path: Path, clients: ClientProcesses) -> None:
    with running_server(tmp_path / "server") as server:
        server.admin.create_flag("new-search")
        server.admin.verb("new-search", "on")
        client = clients[BROWSER].create(server.url, new_client_key(server))

        client.ask("flush", flags=["new-search", "new-search"])
        client.close()

        # It is added up in memory, and written at times, and when the server ends.
        server.terminate()
        server.start()
        assert counts(server, "new-search") == {"on": 2}


@pytest.mark.parametrize("mode", ["polling", "streaming"])
def test_clients_in_node_are_listed(mode: str, server: ServerProcess, clients: ClientProcesses) -> None:
    def listed() -> set[str]:
        items = server.admin.ok("GET", "/projects/default/environments/staging/clients")["items"]
        mine = [one for one in items if one["sdk"] == "unleash-node-sdk" and one["app"] == "real-clients"]
        return {one["instance"] for one in mine if one["revision"] is not None}

    before = listed()
    client = clients[NODE].create(server.url, server.sdk_key("staging"), mode=mode)
    wait_for(lambda: listed() - before, "it to be listed")
    client.close()


def test_a_key_of_the_other_kind_opens_nothing(server: ServerProcess, clients: ClientProcesses) -> None:
    server.admin.create_flag("for-servers-only")
    server.admin.verb("for-servers-only", "on")

    with_clients_key = clients[PYTHON].create(server.url, new_client_key(server))
    with_servers_key = clients[BROWSER].create(server.url, server.sdk_key())

    assert not with_clients_key.is_enabled("for-servers-only")
    assert not with_servers_key.is_enabled("for-servers-only")
    assert any("403" in line for line in with_servers_key.news), with_servers_key.news
    with_clients_key.close()
    with_servers_key.close()
