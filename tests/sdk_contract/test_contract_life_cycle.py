"""From construction to the end of the process."""

from collections.abc import Callable

import pytest

from sdk_contract.answers import respond, silence
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually

Connect = Callable[..., SdkClient]


@pytest.mark.parametrize("streaming", [True, False])
def test_closing_ends_the_connection_at_once(server: ScriptedServer, sdk: SdkProcess, streaming: bool) -> None:
    client = sdk.create(server.url, streaming=streaming, poll_interval=60)
    client.wait()
    client.close()
    eventually(lambda: server.open_connections == 0, "no connection left")


def test_closing_twice_is_harmless(server: ScriptedServer, connect: Connect) -> None:
    client = connect()
    client.wait()
    client.close()
    client.close()


def test_closing_before_the_first_data_is_harmless(server: ScriptedServer, connect: Connect) -> None:
    server.always("stream", silence)
    client = connect()
    client.close()
    assert client.evaluate("lit", default="mine")["value"] == "mine"


@pytest.mark.parametrize("how", ["is_enabled", "value", "evaluate"])
def test_evaluation_after_close_answers_without_raising(server: ScriptedServer, connect: Connect, how: str) -> None:
    client = connect()
    client.wait()
    client.close()
    client.evaluate("lit", default=False, how=how)  # type: ignore[arg-type]
    client.evaluate("unknown", default=False, how=how)  # type: ignore[arg-type]


def test_closed_client_does_not_come_back(server: ScriptedServer, sdk: SdkProcess) -> None:
    closed, other = sdk.create(server.url), sdk.create(server.url)
    closed.wait()
    other.wait()
    closed.close()
    server.wait_for_streams(1)
    asked = len(server.asked("stream"))
    server.end_streams()
    server.wait_for("stream", asked + 1)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    other.follows(2)
    assert len(server.asked("stream")) == asked + 1
    other.close()


def test_waiting_for_data_ends_in_time(server: ScriptedServer, connect: Connect, sdk: SdkProcess) -> None:
    server.always("stream", silence)
    client = connect()
    answer = sdk.ask("wait", client=client.name, timeout=0.001)
    assert not answer["ready"]
    assert answer["took"] < 5


def test_waiting_ends_when_the_client_is_closed_meanwhile(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(server.url, offline=True)
        client.close()
        assert sdk.ask("wait", client=client.name, timeout=15)["took"] < 10


def test_fifty_clients_leave_no_thread_and_no_connection(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    # The first one may start what all of them share.
    own_sdk.create(server.url).close()
    before = len(own_sdk.ask("threads")["threads"])
    clients = [own_sdk.create(server.url) for _ in range(50)]
    assert all(client.wait() for client in clients)
    server.wait_for_streams(50)
    for client in clients:
        client.close()
    server.wait_for_streams(0)
    eventually(lambda: len(own_sdk.ask("threads")["threads"]) <= before, "as many threads as before")


def test_close_does_not_wait_for_a_retry_that_is_far_away(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    server.script("stream", respond(401))
    before = len(own_sdk.ask("threads")["threads"])
    client = own_sdk.create(server.url, timing={"slow_retry": 3600})
    server.wait_for("stream")
    assert client.close() < 10
    # Not only does close() return: the thread that slept has ended.
    eventually(lambda: len(own_sdk.ask("threads")["threads"]) <= before, "as many threads as before")
