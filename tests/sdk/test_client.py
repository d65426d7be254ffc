"""The client in an application's process, against the real server."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fader import Client, ErrorCode, Reason, State
from fader.config import Timing
from fader.testing import InMemoryClient
from processes import ServerProcess, running_server, wait_for

QUICK = Timing(backoff_first=0.05, backoff_longest=0.2, cache_write=0.0)
NOBODY = "http://127.0.0.1:9"
"""Nothing listens on the port of the discard service."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        running.admin.create_flag("new-checkout")
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(url=server.url, sdk_key=server.sdk_key(), app="shop", cache_dir=None, _timing=QUICK) as running:
        assert running.wait_until_ready(30)
        yield running


def run_python(program: str, **environment: str) -> Any:
    """Run a program that prints one JSON document, in a process without any settings of Fader."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "FADER_CACHE_DIR": "off", **environment}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    return json.loads(ran.stdout)


def test_a_client_follows_the_server(server: ServerProcess, client: Client) -> None:
    server.admin.verb("new-checkout", "on")
    wait_for(lambda: client.is_enabled("new-checkout", "user-42"), "the flag to go on")
    details = client.evaluate("new-checkout", "user-42", default=False)
    assert (details.value, details.variant, details.reason) == (True, "on", Reason.STATIC)
    assert details.revision == client.revision == client.status.revision
    server.admin.verb("new-checkout", "off")
    wait_for(lambda: not client.is_enabled("new-checkout", "user-42"), "the flag to go off")


def test_listeners_hear_which_flags_have_changed_after_they_have(server: ServerProcess, client: Client) -> None:
    heard: list[tuple[frozenset[str], bool]] = []
    unsubscribe = client.on_change(lambda keys: heard.append((keys, client.is_enabled("heard-of"))))
    server.admin.create_flag("heard-of")
    server.admin.verb("heard-of", "on")
    wait_for(lambda: len(heard) == 2, "two changes")
    assert heard == [({"heard-of"}, False), ({"heard-of"}, True)]
    unsubscribe()
    revision = client.revision
    server.admin.verb("heard-of", "off")
    wait_for(lambda: client.revision != revision, "the next revision")
    assert len(heard) == 2


def test_a_listener_may_close_its_client(server: ServerProcess, client: Client) -> None:
    closed = threading.Event()

    def close(_: frozenset[str]) -> None:
        client.close()
        closed.set()

    client.on_change(close)
    server.admin.create_flag("closing")
    assert closed.wait(30)
    assert not client.ready


def test_overrides_work_on_a_client_that_runs(client: Client) -> None:
    with client.override({"new-checkout": True, "colour": "red"}):
        assert client.is_enabled("new-checkout")
        assert client.value("colour", default="blue") == "red"
    assert not client.is_enabled("new-checkout")
    assert client.value("colour", default="blue") == "blue"


def test_status_tells_how_far_answers_can_be_trusted(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=None, _timing=QUICK) as client,
    ):
        assert client.wait_until_ready(30)
        assert (client.status.state, client.status.transport) == (State.READY, "stream")
        assert client.status.environment == "production"
        server.kill()
        wait_for(lambda: client.status.state is State.STALE, "the loss to be noticed")
        wait_for(lambda: client.status.last_error, "an error to be noted")
        server.start()
        wait_for(lambda: client.status.state is State.READY, "the return")


def test_what_a_process_has_seen_the_next_one_starts_from(server: ServerProcess, tmp_path: Path) -> None:
    key = server.sdk_key()
    with Client(url=server.url, sdk_key=key, cache_dir=tmp_path) as first:
        assert first.wait_until_ready(30)
        revision = first.revision
    with Client(url=server.url, sdk_key=key, cache_dir=tmp_path, offline=True) as second:
        assert second.revision == revision
        assert second.status.state is State.STALE
        assert second.evaluate("new-checkout").error_code is None


def test_before_any_flags_have_come_everything_gives_its_default() -> None:
    with Client(url=NOBODY, sdk_key="key", cache_dir=None) as client:
        assert client.is_enabled("new-checkout") is False
        assert client.is_enabled("new-checkout", default=True) is True
        assert client.value("colour", default="blue") == "blue"
        assert client.evaluate("colour", default="blue").error_code is ErrorCode.PROVIDER_NOT_READY
        assert client.status.state is State.OFFLINE
        assert client.wait_until_ready(0.01) is False


def test_without_a_key_the_client_stays_offline_and_says_so() -> None:
    run = """
import json, logging, threading
lines = []
handler = logging.Handler(); handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("fader").addHandler(handler)
from fader import flags
answers = [flags.is_enabled("new-checkout") for _ in range(100)]
print(json.dumps([any(answers), flags.wait_until_ready(5), lines, threading.active_count()]))
"""
    enabled, ready, lines, threads = run_python(run)
    assert (enabled, ready, threads) == (False, False, 1)
    assert len(lines) == 1
    assert "FADER_SDK_KEY" in lines[0]


def test_the_default_client_does_nothing_until_it_is_used(server: ServerProcess) -> None:
    run = """
import json, sys, threading
from fader import flags
before = [threading.active_count(), "urllib3" in sys.modules, "ssl" in sys.modules]
with flags.override("of-a-test"):
    overridden = flags.is_enabled("of-a-test")
still = threading.active_count()
flags.is_enabled("new-checkout")
print(json.dumps([before, overridden, still, flags.wait_until_ready(30), flags.ready]))
"""
    before, overridden, still, ready, after = run_python(run, FADER_URL=server.url, FADER_SDK_KEY=server.sdk_key())
    assert before == [1, False, False]
    assert (overridden, still) == (True, 1)
    assert ready
    assert after


def test_nothing_is_imported_on_the_thread(server: ServerProcess, tmp_path: Path) -> None:
    """A fork in the middle of an import would leave the child with a lock that nobody opens."""
    run = """
import json, os, sys, threading, time
from fader import Client
from fader.config import Timing
imported = []
class Recorder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            imported.append(name)
sys.meta_path.insert(0, Recorder())
url, key, cache = (os.environ[name] for name in ("TEST_URL", "TEST_KEY", "TEST_CACHE"))
for streaming in (True, False):
    with Client(url=url, sdk_key=key, cache_dir=cache, streaming=streaming) as client:
        client.wait_until_ready(30)
        client.is_enabled("new-checkout")
        client.is_enabled("typo")
for nobody in ("http://localhost:9", "https://localhost:" + url.rpartition(":")[2]):
    with Client(url=nobody, sdk_key=key, cache_dir=cache, _timing=Timing(backoff_first=0.01)) as client:
        while client.status.last_error is None:
            time.sleep(0.01)
print(json.dumps(imported))
"""
    key = server.sdk_key()
    assert run_python(run, TEST_URL=server.url, TEST_KEY=key, TEST_CACHE=str(tmp_path)) == []


def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with Client(url=NOBODY, sdk_key="default:production.very-secret", cache_dir=None, _timing=QUICK) as client:
        wait_for(lambda: client.status.last_error, "the first failure")
        shown = f"{client!r} {client} {client.status!r}"
    assert "secret" not in shown
    assert "secret" not in caplog.text


def test_an_argument_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url="flags.example.org", sdk_key="key")


def test_clients_are_closed_as_often_as_one_likes_and_go_on_to_answer(client: Client) -> None:
    client.close()
    client.close()
    assert client.is_enabled("new-checkout") is False
    assert client.evaluate("new-checkout").error_code is None
    assert not client.ready


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("red", "blue", "red"),
        ("red", None, "red"),
        ("red", 1, 1),
        ("red", True, True),
        (1, 2, 1),
        (1, 2.5, 1),
        (1.5, 2, 2),
        (1.5, 2.5, 1.5),
        (1, True, True),
        ({"a": 1}, {}, {"a": 1}),
        ([1], [], [1]),
        ([1], {}, {}),
    ],
)
def test_values_are_of_the_type_of_the_default(value: Any, default: Any, expected: Any) -> None:
    client = InMemoryClient({"flag": value})
    assert client.value("flag", default=default) == expected
    details = client.evaluate("flag", default=default)
    assert details.value == expected
    assert (details.error_code is ErrorCode.TYPE_MISMATCH) == (type(expected) is not type(value))


def test_each_cause_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    client = InMemoryClient({"colour": "red"})
    for _ in range(100):
        client.is_enabled("typo")
        client.value("colour", default=1)
        client.is_enabled(["not", "a", "key"])  # type: ignore[arg-type]
        client.value("colour", object(), "blue")  # type: ignore[call-overload]
    assert len(caplog.records) == 4, caplog.text


def test_made_up_keys_fill_neither_the_log_nor_the_memory(caplog: pytest.LogCaptureFixture) -> None:
    client = InMemoryClient()
    for number in range(2_000):
        client.is_enabled(f"somebody-{number}@example.org")
        client.is_enabled(f"made-up-{number}")
        client.is_enabled("\ud800" * number)
    assert len(caplog.records) <= 60
    unknown = client._runtime.counters.unknown()
    assert len(unknown) <= 1_002
    assert sum(unknown.values()) == 6_000
    assert not any("@" in key for key in unknown)
