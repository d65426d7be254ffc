"""Two clients in one process share nothing but the process."""

from collections.abc import Callable

from sdk_contract.answers import silence
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess

Connect = Callable[..., SdkClient]


def test_clients_of_two_servers_hold_different_data(server: ScriptedServer, connect: Connect, sdk: SdkProcess) -> None:
    other = ScriptedServer()
    other.world.flags = {"lit": flag("lit", False), "mine": flag("mine")}
    first = connect(sdk_key="default:production.one")
    second = sdk.create(other.url, sdk_key="default:staging.two")
    assert first.wait()
    assert second.wait()
    assert first.is_enabled("lit")
    assert not second.is_enabled("lit")
    assert second.is_enabled("mine")
    assert first.evaluate("mine", default=1)["error_code"] == "FLAG_NOT_FOUND"
    other.change(flag("lit", True))
    second.follows(2)
    assert first.revision == 1
    assert {request.headers["authorization"][-3:] for request in server.asked("stream")} == {"one"}
    assert {request.headers["authorization"][-3:] for request in other.asked("stream")} == {"two"}
    second.close()
    other.stop()


def test_closing_one_client_leaves_the_other_alone(server: ScriptedServer, connect: Connect) -> None:
    first, second = connect(), connect()
    first.wait()
    second.wait()
    first.close()
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    second.follows(2)
    assert not second.is_enabled("lit")


def test_trouble_of_one_client_is_not_the_trouble_of_the_other(connect: Connect, sdk: SdkProcess) -> None:
    dead = ScriptedServer()
    dead.always("stream", silence)
    stuck = sdk.create(dead.url)
    healthy = connect()
    assert healthy.wait()
    assert healthy.is_enabled("lit")
    assert not stuck.ready
    stuck.close()
    dead.stop()
