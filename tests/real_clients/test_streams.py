"""Streams to clients of others: a change comes without anybody asking for it, and streams come back by themselves."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import ServerProcess, running_server, wait_for
from real_clients.client_process import Client
from real_clients.clients import NODE, OFREP_BROWSER, PYTHON
from real_clients.conftest import ClientProcesses
from services.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.xdist_group("streams to real clients")

STREAMING = pytest.mark.parametrize("name", [NODE, PYTHON])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # With heartbeats far more often than usual, so that all clients get to see some.
    with running_server(tmp_path_factory.mktemp("streams") / "server", FADER_HEARTBEAT_SECONDS="0.2") as server:
        yield server


@pytest.fixture
def flag(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    """A flag of the test's own, that is off."""
    key = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")
    server.admin.create_flag(key)
    return key


def shows(client: Client, flag: str, enabled: bool) -> None:
    wait_for(lambda: client.is_enabled(flag, userId="7") is enabled, f"{flag} to be {enabled}")


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


@STREAMING
def test_a_stream_goes_on_where_it_was_when_the_server_is_back(
    name: str, tmp_path: Path, clients: ClientProcesses
) -> None:
    with running_server(tmp_path / "server") as server, proxied(server.port) as proxy:
        server.admin.create_flag("new-search")
        client = clients[name].create(proxy.url, server.sdk_key(), mode="streaming")
        server.admin.verb("new-search", "on")
        shows(client, "new-search", True)
        before = len(proxy.requests)

        server.restart()
        server.admin.verb("new-search", "off")
        shows(client, "new-search", False)

        resumed = asked_for(b"/client/streaming", proxy, before)
        assert re.search(rb"(?i)\r\nlast-event-id: \S+", resumed[-1])
        client.close()


def test_a_revoked_key_ends_streams_of_the_client_for_node(
    flag: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    made = server.admin.ok("POST", "/projects/default/keys", {"name": flag, "environment": "production"})
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


def test_the_client_for_node_goes_on_polling_where_it_gets_no_stream(tmp_path: Path, clients: ClientProcesses) -> None:
    with running_server(tmp_path / "server", FADER_MAX_STREAMS_PER_KEY="1") as server, proxied(server.port) as proxy:
        server.admin.create_flag("new-search")
        first = clients[NODE].create(server.url, server.sdk_key(), mode="streaming")
        client = clients[NODE].create(proxy.url, server.sdk_key(), mode="polling", refresh=1)
        wait_for(lambda: asked_for(b"/client/streaming", proxy), "it to ask for a stream")

        server.admin.verb("new-search", "on")
        shows(client, "new-search", True)
        server.admin.verb("new-search", "off")
        shows(client, "new-search", False)

        # It goes back to polling at once, and must not be sent to and fro as quickly as it can.
        assert client.mode == "polling"
        assert len(asked_for(b"/client/streaming", proxy)) == 1
        client.close()
        first.close()


def test_a_browser_with_openfeature_hears_of_a_change(
    flag: str, server: ServerProcess, clients: ClientProcesses
) -> None:
    made = server.admin.ok(
        "POST", "/projects/default/keys", {"name": flag, "environment": "production", "kind": "client"}
    )
    client = clients[OFREP_BROWSER].create(server.url, made["secret"], context={"targetingKey": "7"})

    def value() -> bool:
        return bool(client.ask("read", questions=[("boolean", flag)])["answers"][0]["value"])

    assert value() is False
    server.admin.verb(flag, "on")
    wait_for(value, "the change")

    told = client.ask("news")
    assert "PROVIDER_CONFIGURATION_CHANGED" in "".join(told["news"])
    methods, paths, held, statuses = zip(*told["requests"], strict=True)
    assert methods == ("POST", "POST")
    assert statuses == (200, 200)
    assert "flagConfigEtag=" in paths[1]
    assert held == (None, held[1])
    assert held[1]
    client.close()
