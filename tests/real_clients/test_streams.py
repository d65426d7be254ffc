"""Changes come to clients of others: on streams that come back by themselves, or by polls of what they have not yet."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from processes import PATIENCE, ServerProcess, running_server, wait_for
from real_clients.client_process import Client
from real_clients.clients import BROWSER, NODE, OFREP_BROWSER, OLD_PYTHON, PYTHON
from real_clients.conftest import ClientProcesses, NewKey
from services.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.xdist_group("changes to real clients")

STREAMING = pytest.mark.parametrize("name", [NODE, PYTHON])


@pytest.fixture
def flag(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    """A flag of the test's own, that is off."""
    key = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    server.admin.create_flag(key)
    return key


def shows(client: Client, flag: str, enabled: bool, patience: float = PATIENCE) -> None:
    wait_for(lambda: client.is_enabled(flag, userId="7") is enabled, f"{flag} to be {enabled}", patience)


def asked_for(what: bytes, proxy: TcpProxy, since: int = 0) -> list[bytes]:
    """The requests for something, from the one with a number on."""
    return [head for head in proxy.requests[since:] if what in head.partition(b"\r\n")[0]]


@STREAMING
def test_a_change_comes_without_a_poll(name: str, flag: str, server: ServerProcess, clients: ClientProcesses) -> None:
    with proxied(server.port) as proxy:
        client = clients[name].create(proxy.url, server.sdk_key(), mode="streaming")
        assert client.is_enabled(flag, userId="7") is False

        server.admin.verb(flag, "on")
        shows(client, flag, True)
        server.admin.verb(flag, "off")
        shows(client, flag, False)

        assert not asked_for(b"/client/features", proxy)
        client.close()


def test_clients_go_on_without_the_server_and_follow_it_when_it_is_back(
    tmp_path: Path, clients: ClientProcesses
) -> None:
    ways = [(NODE, "streaming"), (PYTHON, "streaming"), (PYTHON, "polling"), (OLD_PYTHON, "polling")]
    with running_server(tmp_path / "server") as server, ExitStack() as until:
        server.admin.create_flag("new-search")
        server.admin.verb("new-search", "on")
        all_of_them = []
        for name, mode in ways:
            proxy = until.enter_context(proxied(server.port))
            client = clients[name].create(proxy.url, server.sdk_key(), mode=mode, refresh=1)
            shows(client, "new-search", True)
            all_of_them.append((client, proxy, mode))

        server.kill()
        for client, proxy, _ in all_of_them:
            before = proxy.accepted
            wait_for(lambda: proxy.accepted > before, "it to try again")  # noqa: B023  # called at once
            assert client.is_enabled("new-search", userId="7")
        server.start()
        server.admin.verb("new-search", "off")
        for client, proxy, mode in all_of_them:
            shows(client, "new-search", False, 2 * PATIENCE)  # they wait longer each time they have tried in vain
            again = asked_for(b"/client/streaming", proxy)[1:]
            assert bool(again) == (mode == "streaming")
            assert all(re.search(rb"(?i)\r\nlast-event-id: \S+", head) for head in again), "it begins anew"
            client.close()


def test_a_revoked_key_ends_streams_of_the_client_for_node(
    flag: str, server: ServerProcess, clients: ClientProcesses, new_key: NewKey
) -> None:
    made = new_key("server")
    with proxied(server.port) as proxy:
        revoked = clients[NODE].create(proxy.url, made["secret"], mode="streaming")
        other = clients[NODE].create(server.url, server.sdk_key(), mode="streaming")
        before = len(proxy.requests)

        server.admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
        wait_for(lambda: asked_for(b"/client/", proxy, before), "it to ask again")
        server.admin.verb(flag, "on")
        shows(other, flag, True)

        assert not revoked.is_enabled(flag, userId="7")
        revoked.close()
        other.close()


def test_the_client_for_node_streams_without_being_set_up_for_it(
    flag: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    with proxied(server.port) as proxy:
        client = clients[NODE].create(proxy.url, server.sdk_key(), mode="polling", refresh=1)
        wait_for(lambda: client.mode == "streaming", "the stream that it is asked for")
        polled = len(asked_for(b"/client/features", proxy))

        server.admin.verb(flag, "on")
        shows(client, flag, True)

        assert len(asked_for(b"/client/features", proxy)) == polled
        client.close()


def test_the_client_for_node_goes_on_polling_where_it_gets_no_stream(
    flag: str, server: ServerProcess, clients: ClientProcesses, new_key: NewKey
) -> None:
    key = new_key("server")["secret"]
    with proxied(server.port) as proxy:
        streaming = [clients[NODE].create(server.url, key, mode="streaming") for _ in range(4)]
        client = clients[NODE].create(proxy.url, key, mode="polling", refresh=1)
        wait_for(lambda: asked_for(b"/client/streaming", proxy), "it to ask for a stream, and be refused")

        server.admin.verb(flag, "on")
        shows(client, flag, True)
        server.admin.verb(flag, "off")
        shows(client, flag, False)

        # It goes back to polling at once, and must not be sent to and fro as quickly as it can.
        assert client.mode == "polling"
        assert len(asked_for(b"/client/streaming", proxy)) == 1
        for each in (client, *streaming):
            each.close()


def test_a_browser_with_openfeature_hears_of_a_change(
    flag: str, server: ServerProcess, clients: ClientProcesses, new_key: NewKey
) -> None:
    made = new_key("client")
    client = clients[OFREP_BROWSER].create(server.url, made["secret"], context={"targetingKey": "7"})

    def value() -> bool:
        return bool(client.ask("read", questions=[("boolean", flag)])["answers"][0]["value"])

    assert value() is False
    server.admin.verb(flag, "on")
    wait_for(value, "the change")

    told = client.ask("news")
    assert "PROVIDER_CONFIGURATION_CHANGED" in "".join(told["news"])
    (_, path, held, status), *later = told["requests"]
    assert (path, held, status) == ("/ofrep/v1/evaluate/flags", None, 200)
    assert later
    for _, path, held, status in later:  # one for each event, and there may be one of what was before
        assert "flagConfigEtag=" in path
        assert held
        assert status in (200, 304)
    client.close()


def test_a_client_for_node_that_polls_what_has_changed_hears_of_it(
    flag: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    with proxied(server.port) as proxy:
        client = clients[NODE].create(proxy.url, server.sdk_key(), mode="delta", refresh=1)
        server.admin.verb(flag, "on")
        shows(client, flag, True)
        server.admin.verb(flag, "off")
        shows(client, flag, False)

        assert asked_for(b"/client/delta", proxy)
        assert not asked_for(b"/client/features", proxy)
        client.close()


def test_a_browser_asks_only_for_what_it_has_not(
    flag: str, server: ServerProcess, clients: ClientProcesses, new_key: NewKey
) -> None:
    made = new_key("client")
    with proxied(server.port) as proxy:
        client = clients[BROWSER].create(proxy.url, made["secret"], refresh=1, context={"userId": "7"})

        def enabled() -> bool:
            return flag in [toggle["name"] for toggle in client.ask("toggles")["toggles"]]

        assert not enabled()
        server.admin.verb(flag, "on")
        wait_for(enabled, "the change")
        server.admin.verb(flag, "off")
        wait_for(lambda: not enabled(), "the other change")

        first, *later = asked_for(b"/api/frontend", proxy)
        assert b"if-none-match" not in first.lower()
        assert later
        assert all(b"if-none-match" in head.lower() for head in later)
        assert not [line for line in client.news if line.startswith("error")]
        client.close()
