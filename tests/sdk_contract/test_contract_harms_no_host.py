"""What every application is promised: whatever the server does, its host is neither delayed nor stopped."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import get_args

import pytest

from sdk_contract.answers import respond, silence
from sdk_contract.documents import flag, flag_with_value, guard
from sdk_contract.exchange import Kind
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess

Connect = Callable[..., SdkClient]

# Promised are "at once" and two seconds. The factor is for machines that are busy with other things: what
# these tests tell apart is a bounded wait from a time-out of the network or none at all, which are 10 s and
# more.
AT_ONCE = 2.0
BOUNDED = 8.0


@contextmanager
def dead() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def unresolvable() -> Iterator[str]:
    yield "http://no-such-host.fader.invalid:8080"


@contextmanager
def silent() -> Iterator[str]:
    """Accepts, reads, and never answers."""
    server = ScriptedServer()
    for kind in get_args(Kind):
        server.always(kind, silence)
    yield server.url
    server.stop()


@contextmanager
def backlog_full() -> Iterator[str]:
    """Listens and never accepts, and its queue is full, so that connecting itself gets no answer."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    server = ScriptedServer()
    server.always("stream", respond(401))
    server.always("snapshot", respond(401))
    yield server.url
    server.stop()


@contextmanager
def hard_of_hearing() -> Iterator[str]:
    """Sends flags, and never answers what clients have to say."""
    server = ScriptedServer()
    server.world.flags["lit"] = flag("lit")
    for kind in ("usage", "ack", "goodbye"):
        server.always(kind, silence)
    yield server.url
    server.stop()


@contextmanager
def healthy() -> Iterator[str]:
    server = ScriptedServer()
    server.world.flags["lit"] = flag("lit")
    yield server.url
    server.stop()


SERVERS = {
    "dead": dead,
    "unresolvable": unresolvable,
    "silent": silent,
    "backlog full": backlog_full,
    "refusing": refusing,
    "hard of hearing": hard_of_hearing,
    "healthy": healthy,
}


@pytest.fixture(params=SERVERS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with SERVERS[request.param]() as url:
        yield url


@pytest.mark.parametrize("streaming", [True, False])
def test_starting_answering_and_closing_are_bounded(url: str, streaming: bool) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(url, streaming=streaming, usage=True, timing={"backoff_longest": 30})
        assert client.took < AT_ONCE
        assert client.evaluate("lit", default=False, times=50)["took"] < AT_ONCE
        assert client.close() < BOUNDED
        assert sdk.exit() < BOUNDED


def test_script_that_never_closes_ends_by_itself(url: str) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(url, usage=True)
        client.evaluate("lit", default=False, times=50)
        assert sdk.exit() < BOUNDED
        assert sdk.errors() == ""


def test_name_look_up_that_never_returns_holds_nobody_up(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        if "hanging_resolver" not in sdk.capabilities:
            pytest.skip("this SDK's test service cannot make the resolver hang")
        client = sdk.create("http://flags.example.org:8080", resolver="hangs", usage=True)
        assert client.took < AT_ONCE
        assert client.evaluate("lit", default="mine")["value"] == "mine"
        assert client.close() < BOUNDED
        second = sdk.create("http://flags.example.org:8080", resolver="hangs", usage=True)
        assert second.took < AT_ONCE
        assert sdk.exit() < BOUNDED


ENDINGS = {
    "the end of the script": "pass",
    "sys.exit": "import sys; sys.exit(0)",
    "an exception": "raise SystemExit(0)",
    "no reference left": "import gc; del client; gc.collect()",
    "closing in an exit handler": "import atexit; atexit.register(client.close)",
    "evaluating in an exit handler": "import atexit; atexit.register(client.is_enabled, 'lit')",
    "evaluating in a finaliser": (
        "import weakref\nclass Last:\n    def __del__(self): client.is_enabled('lit')\nlast = Last()"
    ),
    "a client made in an exit handler": (
        "import atexit\natexit.register(lambda: Client(url=url, sdk_key='default:production.s').is_enabled('lit'))"
    ),
    "threads that still evaluate": (
        "import threading\n"
        "def forever():\n"
        "    while True: client.is_enabled('lit')\n"
        "for _ in range(3): threading.Thread(target=forever, daemon=True).start()"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ["silent", "healthy"])
def test_every_way_to_end_a_script_ends_it(ending: str, kind: str) -> None:
    with SERVERS[kind]() as url:
        program = (
            f"from fader import Client\nurl = {url!r}\n"
            "client = Client(url=url, sdk_key='default:production.s', cache_dir='')\n"
            f"client.is_enabled('lit')\n{ENDINGS[ending]}\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Fatal" not in done.stderr


def test_importing_starts_nothing() -> None:
    program = (
        "import fader, threading, sys\n"
        "print(threading.active_count(), 'urllib3' in sys.modules, 'ssl' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "False", "False"], done.stderr


def test_default_client_without_any_setting_answers_defaults(tmp_path: Path) -> None:
    program = (
        "from fader import flags\n"
        "assert flags.is_enabled('any') is False\n"
        "assert flags.value('any', default='mine') == 'mine'\n"
        "assert flags.evaluate('any', 'user-1', default=3).value == 3\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


WRONG_ENVIRONMENT = {
    "FADER_URL": "not a url",
    "FADER_SDK_KEY": "a key\nwith: a header",
    "FADER_SDK_KEY_FILE": "/no/such/file",
    "FADER_STREAMING": "perhaps",
    "FADER_POLL_INTERVAL": "-7",
    "FADER_USAGE": "\u2603",
    "FADER_CACHE_DIR": "\x07/relative/../..",
    "FADER_CA_FILE": "/no/such/file",
    "SSL_CERT_FILE": "/no/such/file",
    "HTTPS_PROXY": "nonsense://\u2603",
    "HTTP_PROXY": ":::",
}


@pytest.mark.parametrize("variable", [*WRONG_ENVIRONMENT, "all of them"])
def test_wrong_environment_takes_no_application_down(server: ScriptedServer, tmp_path: Path, variable: str) -> None:
    program = (
        "from fader import flags\n"
        "assert flags.is_enabled('no-such-flag') is False\n"
        "assert flags.value('no-such-flag', 'user-1', default='mine') == 'mine'\n"
        "flags.wait_until_ready(timeout=0.2)\n"
        "flags.close()\n"
    )
    good = {"FADER_URL": server.url, "FADER_SDK_KEY": "default:production.s", "PATH": os.environ["PATH"]}
    wrong = WRONG_ENVIRONMENT if variable == "all of them" else {variable: WRONG_ENVIRONMENT[variable]}
    if variable == "FADER_SDK_KEY_FILE":
        del good["FADER_SDK_KEY"]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=good | wrong,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_that_is_passed_in_makes_it_raise(server: ScriptedServer, connect: Connect, sdk: SdkProcess) -> None:
    attributes = ("plan", "targeting_key", "remote_address", "current_time", "session_id")
    operators = (
        "in",
        "not_in",
        "=",
        "<",
        "before",
        "semver_gt",
        "in_cidr",
        "matches",
        "contains",
        "exists",
        "starts_with",
    )
    values = {"=": [1], "<": [1], "before": ["2030-01-01T00:00:00Z"], "semver_gt": ["1.0.0"], "exists": []}
    constraints = [
        {"attribute": attribute, "operator": operator, "values": values.get(operator, ["x"])}
        for attribute in attributes
        for operator in operators
    ]
    rules = [{"id": f"r{n}", "variant": "off", "constraints": [each]} for n, each in enumerate(constraints)]
    rollouts = [{"id": f"by-{attribute}", "rollout": {"percentage": 50, "by": attribute}} for attribute in attributes]
    server.world.flags["ruled"] = flag("ruled", rules=rules + rollouts)
    server.world.flags["valued"] = flag_with_value("valued", {"a": 1})
    server.world.guards["ruled"] = [guard("r.1.g", "payment", "by-session_id"), guard("r.1.h", "payment", "r3")]
    client = connect(usage=True)
    client.wait()
    result = sdk.ask(
        "abuse", client=client.name, flags=["lit", "ruled", "valued", "no-such-flag"], metrics=["payment", "other"]
    )
    assert result["calls"] > 1_000
    assert result["raised"] == []
    assert client.is_enabled("lit")


def test_nothing_that_is_passed_in_before_there_are_data_makes_it_raise(connect: Connect, sdk: SdkProcess) -> None:
    with dead() as url:
        client = sdk.create(url)
        assert sdk.ask("abuse", client=client.name, flags=["lit"], metrics=["payment"])["raised"] == []
        client.close()
