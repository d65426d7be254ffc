"""The databases that tests of all rooms share: one of each for a run (and for each of its workers)."""

import os
import signal
from collections.abc import Iterator

import pytest

import processes
from services.postgres import ExternalPostgres, PostgresDatabases, PostgresServer
from services.redis_server import ExternalRedis, RedisDatabases, RedisServer
from warm_starts import WarmProcess


def pytest_addoption(parser: pytest.Parser) -> None:
    # Here, because pytest asks no deeper conftest for options.
    group = parser.getgroup("faults")
    group.addoption("--fault-seconds", type=float, default=12.0, help="how long there are random faults")
    group.addoption("--fault-seed", type=int, default=1, help="which random faults there are")
    group = parser.getgroup("real clients")
    group.addoption("--random-flags", type=int, default=1000, help="how many flags real clients are compared by")
    group.addoption("--random-seed", type=int, default=1, help="which random flags these are")


def pytest_configure() -> None:
    processes.warm_start = WarmProcess
    # Shells start what runs in the background with Ctrl-C ignored, and each process hands that on to those it starts:
    # the programs that tests end by it would not hear it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cold_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are the very program that users start, from its first line on."""
    monkeypatch.setattr(processes, "warm_start", None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """PostgreSQL, to create databases in."""
    given = os.environ.get("FADER_TEST_DATABASE_URL")
    if given:
        external = ExternalPostgres(given)
        yield external
        external.close()
        return
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisDatabases]:
    """Redis."""
    given = os.environ.get("FADER_TEST_REDIS_URL")
    if given:
        yield ExternalRedis(given)
        return
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
