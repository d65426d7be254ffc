"""What every application is promised: whatever the server does, the host is not delayed, stopped, or buried
in logs."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sdk_contract.answers import cut, respond, silence, stream
from sdk_contract.documents import flag, flag_with_value
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import stays

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
    server.always("stream", silence)
    server.always("snapshot", silence)
    server.always("usage", silence)
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
def healthy_but_for_usage() -> Iterator[str]:
    server = ScriptedServer()
    server.world.flags["lit"] = flag("lit")
    server.always("usage", silence)
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
    "healthy but for usage": healthy_but_for_usage,
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
    client = connect(usage=True)
    client.wait()
    result = sdk.ask("abuse", client=client.name, flags=["lit", "ruled", "valued", "no-such-flag"])
    assert result["calls"] > 1_000
    assert result["raised"] == []
    assert client.is_enabled("lit")


def test_nothing_that_is_passed_in_before_there_are_data_makes_it_raise(connect: Connect, sdk: SdkProcess) -> None:
    with dead() as url:
        client = sdk.create(url)
        assert sdk.ask("abuse", client=client.name, flags=["lit"])["raised"] == []
        client.close()


# One line per cause and not per call: a handful covers every cause that one of these situations has.
HANDFUL = 5


def test_thousand_failing_evaluations_are_not_a_thousand_lines(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    server.world.flags["text"] = flag_with_value("text", "served")
    client = own_sdk.create(server.url)
    client.wait()
    client.evaluate("no-such-flag", default=1, times=1_000)
    client.evaluate("text", default=1, times=1_000)
    client.evaluate("text", context=["not", "a", "context"], default="x", times=1_000)
    lines = own_sdk.logs()
    assert 1 <= len(lines) <= HANDFUL, lines


def test_flags_that_are_not_ready_are_not_a_line_each(own_sdk: SdkProcess) -> None:
    with dead() as url:
        client = own_sdk.create(url, timing={"backoff_longest": 30})
        for number in range(300):
            client.evaluate(f"flag-{number}", default=1)
        assert len(own_sdk.logs()) <= HANDFUL


def test_thousand_unknown_flags_are_not_a_thousand_lines(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    """Where a flag's name is made from what users send, a line for each would be a flood as well."""
    client = own_sdk.create(server.url)
    client.wait()
    for number in range(1_000):
        client.evaluate(f"user-typed-{number}", default=1)
    assert len(own_sdk.logs()) <= 110


@pytest.mark.parametrize("how", ["dead", "cut", "refused", "unavailable"])
def test_long_outage_is_not_a_line_per_attempt(server: ScriptedServer, own_sdk: SdkProcess, how: str) -> None:
    if how == "dead":
        server.stop()
    else:
        server.always("stream", {"cut": cut, "refused": respond(401), "unavailable": respond(503)}[how])
    own_sdk.create(server.url, timing={"backoff_first": 0.001, "backoff_longest": 0.005, "slow_retry": 0.01})
    if how == "dead":
        # Nothing counts attempts that nobody answers; at this pace there are some two hundred in this time.
        stays(lambda: own_sdk.alive, "the process lives", 0.8)
    else:
        server.wait_for("stream", 60)
    lines = own_sdk.logs()
    assert 1 <= len(lines) <= HANDFUL, lines


def test_streams_that_break_and_come_back_are_not_a_line_each(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    """A load balancer that resets every stream after a minute would otherwise write a book in a week."""
    lively = stream(lambda exchange: exchange.hold(0.01), cut)
    server.script("stream", *[lively] * 40)
    own_sdk.create(server.url, timing={"backoff_first": 0.001, "backoff_longest": 0.002, "healthy": 0.001})
    server.wait_for("stream", 41)
    assert len(own_sdk.logs()) <= HANDFUL


def test_errors_name_no_secret(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    server.always("stream", respond(401, b"default:production.top-secret is wrong"))
    own_sdk.create(server.url, sdk_key="default:production.top-secret", timing={"slow_retry": 0.02})
    server.wait_for("stream", 5)
    assert "top-secret" not in "\n".join(own_sdk.logs()) + own_sdk.errors()


def test_process_without_any_logging_prints_little(server: ScriptedServer) -> None:
    """Warnings of a library reach standard error even when nobody has configured logging."""
    program = (
        "from fader import Client\n"
        f"client = Client(url={server.url!r}, sdk_key='default:production.s', cache_dir='')\n"
        "client.wait_until_ready(timeout=15)\n"
        "for _ in range(1000): client.is_enabled('no-such-flag', object())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) <= HANDFUL, done.stderr
