"""What clients of others report of themselves, and what they are told who have a key of the wrong kind."""

import pytest

from processes import ServerProcess, wait_for
from real_clients.clients import BROWSER, NODE, PYTHON
from real_clients.conftest import ClientProcesses, NewKey

pytestmark = pytest.mark.xdist_group("changes to real clients")


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


def test_what_a_browser_evaluated_is_counted(server: ServerProcess, clients: ClientProcesses, new_key: NewKey) -> None:
    server.admin.create_flag("in-a-browser")
    server.admin.verb("in-a-browser", "on")
    client = clients[BROWSER].create(server.url, new_key("client")["secret"], context={"userId": "7"})

    client.ask("flush", flags=["in-a-browser", "in-a-browser"])
    client.close()

    # It is added up in memory, and written at times, and when the server ends.
    server.terminate()
    server.start()
    assert sum(counts(server, "in-a-browser").values()) == 2


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


def test_a_key_of_the_other_kind_opens_nothing(
    server: ServerProcess, clients: ClientProcesses, new_key: NewKey
) -> None:
    server.admin.create_flag("for-servers-only")
    server.admin.verb("for-servers-only", "on")

    with_clients_key = clients[PYTHON].create(server.url, new_key("client")["secret"])
    with_servers_key = clients[BROWSER].create(server.url, server.sdk_key())

    assert not with_clients_key.is_enabled("for-servers-only")
    assert not with_servers_key.is_enabled("for-servers-only")
    assert any("403" in line for line in with_servers_key.news), with_servers_key.news
    with_clients_key.close()
    with_servers_key.close()
