"""What nodes say of what they share: the database, and the bus between them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import asyncpg
import pytest

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import Scrape, scrape
from services.postgres import PostgresDatabases
from services.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One that may be killed."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def database(postgres: PostgresDatabases) -> str:
    url = postgres.create_database()
    command = [sys.executable, "-m", "fader_server", "migrate"]
    subprocess.run(command, env=os.environ | {"DATABASE_URL": url}, timeout=PATIENCE, check=True)
    return url


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, database: str, redis: RedisServer) -> Iterator[list[ServerProcess]]:
    """Two of them."""
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        settings = {"DATABASE_URL": database, "REDIS_URL": redis.url, "FADER_POLL_SECONDS_WITHOUT_BUS": "0.2"}
        first = stack.enter_context(running_server(folder / "first", **settings))
        second = first.sibling(folder / "second")
        stack.callback(second.close)
        second.start()
        yield [first, second]


def until(node: ServerProcess, holds: str, value: float) -> Scrape:
    """Scrape until a metric has a value."""
    return wait_for(
        lambda: told if (told := scrape(node)).sum(holds) == value else None, f"{holds} to be {value:g}"
    )  # fmt: skip


def test_a_change_is_told_to_the_other_node_and_measured_there(nodes: list[ServerProcess]) -> None:
    first, second = nodes
    for node in nodes:
        until(node, "fader_bus_up", 1)
    first.admin.create_flag("new-checkout")
    with closing(RawStream(second)) as stream:
        stream.event()
        begun = [scrape(node) for node in nodes]
        first.admin.verb("new-checkout", "on")
        assert stream.event()[0] == "change"
    wrote, heard = (scrape(node) for node in nodes)
    name = "fader_bus_messages_total"
    assert wrote.sum(name, direction="published") > begun[0].sum(name, direction="published")
    assert heard.sum(name, direction="received") > begun[1].sum(name, direction="received")
    assert heard.sum(name, direction="published") == begun[1].sum(name, direction="published")
    counted = "fader_change_propagation_seconds_count"
    assert heard.sum(counted) - begun[1].sum(counted) == 1
    assert heard.sum("fader_bus_reconnects_total") == 0


def test_a_lost_bus_is_seen_and_its_return_is_counted(nodes: list[ServerProcess], redis: RedisServer) -> None:
    node = nodes[0]
    until(node, "fader_bus_up", 1)
    redis.kill()
    until(node, "fader_bus_up", 0)
    redis.start()
    until(node, "fader_bus_reconnects_total", 1)
    until(node, "fader_bus_up", 1)


def test_a_database_that_is_away_is_seen(
    nodes: list[ServerProcess], database: str, postgres: PostgresDatabases
) -> None:
    node = nodes[0]
    RawStream(node).close()
    assert until(node, "fader_database_up", 1).sum("fader_database_failures_total") == 0
    name = urlsplit(database).path.removeprefix("/")
    rename(postgres, name, f"{name}_away")
    assert node.admin.request("POST", "/projects/default/flags", {"key": "never-made"}).status == 503
    told = until(node, "fader_database_up", 0)
    assert told.sum("fader_database_failures_total") >= 1
    assert told.has("fader_environment_revision", environment="production"), "served from memory"
    rename(postgres, f"{name}_away", name)
    until(node, "fader_database_up", 1)


def rename(postgres: PostgresDatabases, before: str, after: str) -> None:
    """Give a database another name, which takes nobody being connected to it."""

    def renamed() -> bool:
        postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{before}'")
        try:
            postgres.execute(f'ALTER DATABASE "{before}" RENAME TO "{after}"')
        except asyncpg.ObjectInUseError:
            return False
        return True

    wait_for(renamed, "the database to be renamed")
