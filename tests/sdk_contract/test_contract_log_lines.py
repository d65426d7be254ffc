"""What an operator reads: one line per cause, never one per call or per attempt, and never a secret."""

import subprocess
import sys

import pytest

from sdk_contract.answers import cut, respond, stream
from sdk_contract.documents import flag_with_value
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkProcess
from sdk_contract.waiting import stays

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


def test_flags_that_are_not_ready_are_not_a_line_each(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    server.stop()
    client = own_sdk.create(server.url, timing={"backoff_longest": 30})
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
