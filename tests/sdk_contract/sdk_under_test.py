"""Drives an SDK, of any language, in a process of its own.

The SDK's side is a small program, the *test service* (for Python: ``sdk_process.py``; for another language
put its command line into ``FADER_SDK_UNDER_TEST``). It reads one JSON object a line on standard input and
answers each with one JSON object a line on standard output. Standard error is for crashes only: the tests
refuse tracebacks there.

Every request has ``do``; every answer has ``ok``, and ``error`` (text) when it is false.

============ ==================================== ============================================================
do           with                                 answers
============ ==================================== ============================================================
capabilities                                      ``capabilities``: what of the optional things it can (below)
create       client, settings                     ``took`` (seconds until the constructor returned)
wait         client, timeout                      ``ready``: whether there were data in time; ``took``
evaluate     client, how, flag, context, default  ``value``, ``took``; for ``evaluate`` also variant, reason,
             and optionally times (repeat)        error_code, rule and revision. A context is null, text, a
             and threads (each repeats)           number, or an object of attributes (with ``targeting_key``)
record       client, metric, users, and optionally  nothing: each user is recorded once, in order
             failed, value
status       client                               ``ready``: whether the server has confirmed or sent data;
                                                  ``revision`` held, be it from the disk; -1 without data
abuse        client, flags, metrics               ``calls`` made with senseless arguments, ``raised``: texts
logs                                              ``lines`` of level warning and above since the last asking
threads                                           ``threads``: names of those that are alive
close        client                               ``took``
exit                                              nothing: the program returns from its main function at once,
                                                  with clients still open, as a script that has finished
============ ==================================== ============================================================

``how`` is one of ``is_enabled``, ``value``, ``evaluate``. Settings are url, sdk_key, app, cache_dir ("" for
none), streaming, poll_interval, usage, offline, and ``timing``: an object of seconds that makes waiting short
(connect, first_byte, heartbeat, event, backoff_first, backoff_longest, slow_retry, retry_after_longest,
healthy, stream_again, usage_flush, outcomes_flush, usage_post, ack_post, ack_window, cache_write, close; what is
missing keeps its default). A setting that is null or missing is not passed on. Environment variables are the
process's own.

Capabilities: ``hanging_resolver`` (with ``"resolver": "hangs"`` in the settings, name look-ups never return).
"""

import json
import os
import queue
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from sdk_contract.waiting import PATIENCE, eventually

How = Literal["is_enabled", "value", "evaluate"]
Reply = dict[str, Any]

QUICK: Mapping[str, float] = {
    "backoff_first": 0.02,
    "backoff_longest": 0.1,
    "slow_retry": 0.4,
    "cache_write": 0.0,
}
"""Retries that a test can wait for. All other patience is the default unless a test is about it."""

MEMORY = 3 * 1024**3
"""Bytes of address space that the process may have, where the platform can say so."""

PYTHON_SDK = [sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("sdk_process.py"))]


class SdkClient:
    """One client inside the process."""

    def __init__(self, process: "SdkProcess", name: str, took: float) -> None:
        self.process = process
        self.name = name
        self.took = took

    def evaluate(
        self, flag: str, context: Any = "user-1", default: Any = None, how: How = "evaluate", **repeat: int
    ) -> Reply:
        """Ask once, or ``times`` times, in each of ``threads`` threads; returns the last answer."""
        return self.process.ask(
            "evaluate", client=self.name, how=how, flag=flag, context=context, default=default, **repeat
        )

    def is_enabled(self, flag: str, context: Any = "user-1") -> bool:
        return bool(self.evaluate(flag, context, how="is_enabled")["value"])

    def value(self, flag: str, default: Any, context: Any = "user-1") -> Any:
        return self.evaluate(flag, context, default, how="value")["value"]

    def record(self, metric: str, *users: Any, **fields: Any) -> None:
        self.process.ask("record", client=self.name, metric=metric, users=users, **fields)

    @property
    def revision(self) -> int:
        return int(self.process.ask("status", client=self.name)["revision"])

    @property
    def ready(self) -> bool:
        return bool(self.process.ask("status", client=self.name)["ready"])

    def wait(self, timeout: float = PATIENCE) -> bool:
        return bool(self.process.ask("wait", client=self.name, timeout=timeout)["ready"])

    def follows(self, revision: int) -> None:
        """Wait until the client evaluates with exactly this revision."""
        eventually(lambda: self.revision == revision, f"revision {revision} in client {self.name}")

    def close(self) -> float:
        return float(self.process.ask("close", client=self.name)["took"])


class SdkProcess:
    """The running test service. Use as a context manager; ``exit_code`` is there once it has ended."""

    def __init__(
        self, env: Mapping[str, str] | None = None, cwd: Path | None = None, unset: tuple[str, ...] = ()
    ) -> None:
        command = shlex.split(os.environ.get("FADER_SDK_UNDER_TEST", "")) or PYTHON_SDK
        clean = {name: value for name, value in os.environ.items() if not _interferes(name)}
        environment = clean | {"FADER_CACHE_DIR": "off"} | dict(env or {})
        for name in unset:
            environment.pop(name, None)
        self._errors = tempfile.TemporaryFile("a+")  # noqa: SIM115  # both ends append
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            cwd=cwd,
            env=environment,
        )
        if hasattr(resource, "prlimit"):
            # An SDK that a hostile server can make grow is to fail its test, not to take the machine with it.
            resource.prlimit(self._process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._names = 0
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, do: str, **arguments: Any) -> Reply:
        """Send one request and return its answer; an answer that is not ``ok`` fails the test."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        except OSError:
            raise AssertionError(f"the SDK's process has died:\n{self.errors()}") from None
        try:
            line = self._answers.get(timeout=PATIENCE + arguments.get("timeout", 0))
        except queue.Empty:
            # It would not answer the next test either: whoever shares this process gets a new one.
            self._process.kill()
            self._process.wait(PATIENCE)
            raise AssertionError(f"no answer to {do!r} within {PATIENCE} s:\n{self.errors()}") from None
        assert line is not None, f"the SDK's process died over {do!r}:\n{self.errors()}"
        reply: Reply = json.loads(line)
        assert reply["ok"], f"{do!r} failed: {reply.get('error')}"
        return reply

    def create(self, url: str | None, *, timing: Mapping[str, float] | None = None, **settings: Any) -> SdkClient:
        self._names += 1
        name = f"client-{self._names}"
        settings = {
            "url": url,
            "sdk_key": "default:production.test-secret",
            "app": "contract-tests",
            "cache_dir": "",
            "usage": False,
            "timing": {**QUICK, **(timing or {})},
            **settings,
        }
        return SdkClient(self, name, self.ask("create", client=name, settings=settings)["took"])

    @property
    def capabilities(self) -> set[str]:
        return set(self.ask("capabilities")["capabilities"])

    def logs(self) -> list[str]:
        return list(self.ask("logs")["lines"])

    def exit(self) -> float:
        """Let the program finish by itself, and return the seconds that this took."""
        assert self._process.stdin
        began = time.monotonic()
        self._process.stdin.write(json.dumps({"do": "exit"}) + "\n")
        assert self._process.wait(PATIENCE) == 0, self.errors()
        return time.monotonic() - began

    def errors(self) -> str:
        """What the process wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)


def _interferes(name: str) -> bool:
    return name.startswith("FADER_") or name.lower() in {
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "ssl_cert_file",
    }
