"""What a client asks of the server, and which servers it talks to at all."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdk_contract.answers import respond, stream
from sdk_contract.certificates import Certificate, make_certificate
from sdk_contract.documents import flag, snapshot, snapshot_event
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually

Connect = Callable[..., SdkClient]


@pytest.mark.parametrize("prefix", ["", "/behind/a/proxy"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("streaming", [True, False])
def test_path_follows_the_base_url_with_and_without_trailing_slash(
    sdk: SdkProcess, prefix: str, slash: str, streaming: bool
) -> None:
    server = ScriptedServer(prefix=prefix)
    client = sdk.create(server.url + slash, streaming=streaming)
    request = server.wait_for("stream" if streaming else "snapshot")[0]
    assert request.method == "GET"
    assert request.path == prefix + ("/sdk/v1/stream" if streaming else "/sdk/v1/snapshot")
    client.close()
    server.stop()


@pytest.mark.parametrize("streaming", [True, False])
def test_client_names_itself_on_every_request(server: ScriptedServer, connect: Connect, streaming: bool) -> None:
    client = connect(streaming=streaming, poll_interval=0.1, app="shop", sdk_key="default:production.key-1")
    client.wait()
    if streaming:
        server.end_streams()
    requests = server.wait_for("stream" if streaming else "snapshot", 2)
    for request in requests:
        assert request.headers["authorization"] in (
            "Bearer default:production.key-1",
            "default:production.key-1",
        )
        assert request.headers["fader-app"] == "shop"
        assert "/" in request.headers["user-agent"]
        assert request.headers["fader-host"]
        assert request.headers["fader-instance"].startswith(request.headers["fader-host"][:40])
    instances = {request.headers["fader-instance"] for request in requests}
    assert len(instances) == 1
    assert instances != {""}


def test_app_names_with_characters_no_header_can_carry_do_not_stop_the_client(
    server: ScriptedServer, connect: Connect
) -> None:
    client = connect(app="sh\u00f6p\r\nEvil: yes \U0001f6d2" + "x" * 5000)
    assert client.wait()
    request = server.asked("stream")[0]
    assert "evil" not in request.headers
    assert client.is_enabled("lit")


def test_stream_asks_for_event_streams_and_polling_for_compression(server: ScriptedServer, connect: Connect) -> None:
    connect()
    connect(streaming=False)
    assert "text/event-stream" in server.wait_for("stream")[0].headers["accept"]
    assert "gzip" in server.wait_for("snapshot")[0].headers["accept-encoding"]


def test_first_request_holds_no_version_and_later_ones_the_version_held(
    server: ScriptedServer, connect: Connect
) -> None:
    client = connect()
    client.wait()
    server.change(flag("other"))
    client.follows(2)
    server.end_streams()
    first, second = server.wait_for("stream", 2)[:2]
    assert first.since is None
    assert second.since == "0123abcd-2"


def test_redirects_do_not_carry_the_key_to_another_host(server: ScriptedServer, connect: Connect) -> None:
    elsewhere = ScriptedServer()
    # The same machine under another name is another host to a client.
    server.script("stream", respond(302, headers={"Location": f"http://localhost:{elsewhere.port}/sdk/v1/stream"}))
    client = connect()
    assert client.wait()
    assert not [request for request in elsewhere.requests if "authorization" in request.headers]
    elsewhere.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure_server(certificate: Certificate) -> Iterator[ScriptedServer]:
    server = ScriptedServer(tls=certificate.server_context())
    server.world.flags["lit"] = flag("lit")
    yield server
    server.stop()


def test_certificate_that_nobody_vouches_for_is_refused(sdk: SdkProcess, secure_server: ScriptedServer) -> None:
    client = sdk.create(secure_server.url)
    eventually(lambda: secure_server.connections >= 2, "a second attempt")
    assert not client.ready
    assert not secure_server.requests
    client.close()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "FADER_CA_FILE"])
@pytest.mark.parametrize("streaming", [True, False])
def test_certificate_is_trusted_when_the_environment_says_so(
    secure_server: ScriptedServer, certificate: Certificate, variable: str, streaming: bool
) -> None:
    with SdkProcess({variable: str(certificate.path)}) as sdk:
        client = sdk.create(secure_server.url, streaming=streaming, poll_interval=0.1)
        assert client.wait()
        for turn in range(5):
            secure_server.change(flag("lit", bool(turn % 2)))
            client.follows(turn + 2)
        assert len(secure_server.asked("stream")) == (1 if streaming else 0)
        client.close()
        eventually(lambda: secure_server.open_connections == 0, "no connection left")


def test_proxy_of_the_environment_is_asked_for_the_tunnel(server: ScriptedServer) -> None:
    with SdkProcess({"HTTPS_PROXY": server.url}) as sdk:
        sdk.create("https://flags.example.invalid:8443")
        request = server.wait_for("other")[0]
    assert (request.method, request.target) == ("CONNECT", "flags.example.invalid:8443")
    assert "authorization" not in request.headers


def test_no_proxy_is_honoured(server: ScriptedServer) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{dead.getsockname()[1]}"
        environment = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}
        with SdkProcess(environment) as sdk:
            assert sdk.create(server.url).wait()


def test_settings_come_from_the_environment_when_the_code_gives_none(server: ScriptedServer, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("default:production.from-file\n")
    environment = {"FADER_URL": server.url, "FADER_SDK_KEY_FILE": str(key), "FADER_APP": "from-environment"}
    with SdkProcess(environment) as sdk:
        sdk.create(None, sdk_key=None, app=None)
        request = server.wait_for("stream")[0]
    assert request.headers["authorization"].endswith("default:production.from-file")
    assert request.headers["fader-app"] == "from-environment"


def test_offline_client_never_connects(server: ScriptedServer, connect: Connect) -> None:
    offline, online = connect(offline=True), connect()
    assert online.wait()
    server.wait_for("ack")
    # Whoever has connected has asked something, and all of them are one.
    eventually(lambda: len({request.connection for request in server.requests}) == server.connections, "all asked")
    assert len({request.headers["fader-instance"] for request in server.requests}) == 1
    assert offline.evaluate("lit", default=False)["error_code"] == "PROVIDER_NOT_READY"


def test_stream_is_answered_in_pieces_of_any_size(server: ScriptedServer, connect: Connect) -> None:
    whole = snapshot_event(snapshot(5, flag("lit", description_of_a_newer_server="ignored")))
    server.script("stream", stream(whole[:10], whole[10:11], whole[11:], then_live=True))
    client = connect()
    client.follows(5)
    assert client.is_enabled("lit")
