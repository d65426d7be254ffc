"""Real servers for tests: the very program that users run, on a free port, with a database of its own."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import urllib3

from services.sqlite_files import make_database

PATIENCE = 30.0
"""Seconds after which something that should have happened never will."""

warm_start: "Callable[[Mapping[str, str], Path, Path], Process] | None" = None
"""What starts servers sooner than from nothing, given their environment, folder and log. Tests set it; what measures
starts does not."""

_URL = re.compile(r"http://[^\s\"']+")


def wait_for(condition: Callable[[], Any], what: str = "the condition", patience: float = PATIENCE) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.01)
    return result


class Process(Protocol):
    """A server's process: a ``subprocess.Popen``, or what is like one."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...
    def send_signal(self, number: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def _cold_start(python: str, environment: Mapping[str, str], folder: Path, log: Path) -> Process:
    with log.open("ab") as written:
        return subprocess.Popen(
            [python, "-m", "fader_server", "serve"],
            env=environment, cwd=folder, stdout=written, stderr=subprocess.STDOUT,
        )  # fmt: skip


class Answer:
    """An answer of the server, with its body read as JSON where it is JSON."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.body[:500]!r})"


class AdminApi:
    """The smallest client of the admin API that tests can use."""

    def __init__(self, server: "ServerProcess") -> None:
        self._server = server
        self._pool = urllib3.PoolManager(retries=False, timeout=PATIENCE)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        """Send a request to ``/api/v1`` and whatever path follows."""
        sent = {"Authorization": f"Bearer {token or self._server.admin_token}"}
        payload = raw
        if body is not None:
            payload = json.dumps(body).encode()
        if payload is not None:
            sent["Content-Type"] = "application/json"
        answer = self._pool.request(
            method, f"{self._server.url}/api/v1{path}", body=payload, headers=sent | dict(headers or {})
        )
        return Answer(answer.status, answer.headers, answer.data)

    def ok(self, method: str, path: str, body: Any = None) -> Any:
        """The same, and it must succeed."""
        answer = self.request(method, path, body)
        assert 200 <= answer.status < 300, answer
        return answer.json if answer.body else None

    def create_flag(self, key: str, **fields: Any) -> Any:
        return self.ok("POST", "/projects/default/flags", {"key": key, **fields})

    def verb(self, key: str, verb: str, body: Any = None, *, environment: str = "production") -> Any:
        """``on``, ``off``, ``rollout``, ``undo`` …"""
        return self.ok("POST", f"/projects/default/flags/{key}/environments/{environment}/{verb}", body)

    def close(self) -> None:
        self._pool.clear()


class ServerProcess:
    """A server under test."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.database = folder / "fader.db"
        self.log = folder / "server.log"
        self.admin_token = f"fader_{secrets.token_hex(20)}"
        self.url = ""
        self.python = sys.executable
        """The interpreter that runs it."""
        self._keys = {
            name: f"default:{name}.{secrets.token_hex(20)}" for name in ("development", "staging", "production")
        }
        self._environment = dict(environment or {})
        self._process: Process | None = None
        self.admin = AdminApi(self)

    def sdk_key(self, environment: str = "production") -> str:
        """A key that the server knows."""
        return self._keys[environment]

    def sibling(self, folder: Path, **environment: str) -> "ServerProcess":
        """Another node of the same installation: it has the same settings, and the same credentials.

        Args:
            folder: Of its own.
            environment: Variables in which it differs.
        """
        other = ServerProcess(folder, self._environment | environment)
        other.admin_token, other._keys, other.python = self.admin_token, self._keys, self.python
        return other

    @property
    def process(self) -> "Process":
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self) -> None:
        """Start it, and wait until it listens. A second start takes the same port."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FADER_")}
        environment |= {
            "FADER_PORT": str(self.port) if self.url else "0",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "FADER_LOG_FORMAT": "json",
            "FADER_INITIAL_ADMIN_TOKEN": self.admin_token,
            "FADER_INITIAL_SDK_KEYS": ",".join(self._keys.values()),
        }
        if self._environment.get("DATABASE_URL", "").startswith("postgres"):
            environment["FADER_MIGRATE"] = "always"
        if "DATABASE_URL" not in self._environment and not self.database.exists():
            make_database(self.database)
        begin = self.log.stat().st_size if self.log.exists() else 0
        environment |= self._environment
        for_python = any(name.startswith("PYTHON") for name in self._environment)
        if warm_start is None or for_python or self.python != sys.executable:
            self._process = _cold_start(self.python, environment, self.folder, self.log)
        else:
            self._process = warm_start(environment, self.folder, self.log)

        def listening() -> str | None:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log.read_text()}")
            for line in self.log.read_bytes()[begin:].decode(errors="replace").splitlines():
                if "listening" in line and (url := _URL.search(line)):
                    return url.group()
            return None

        self.url = wait_for(listening, "the server to listen")

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """Ask it to end, wait until it has, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def restart(self) -> None:
        """Kill it and start it again on the same port and database."""
        self.kill()
        self.start()

    def close(self) -> None:
        self.admin.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def running_server(folder: Path, **environment: str) -> Iterator[ServerProcess]:
    """A server for the time of a ``with`` block.

    Args:
        folder: Where its database and its log go; a temporary one.
        environment: Further variables for it.
    """
    server = ServerProcess(folder, environment)
    try:
        server.start()
        yield server
    finally:
        server.close()
