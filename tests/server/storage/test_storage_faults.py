"""A PostgreSQL that is not to be reached: who asks is refused, at once where that is known already."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
import time_machine

from fader_server.errors import Unavailable
from fader_server.storage import Store, postgresql
from services.postgres import PostgresDatabases
from services.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database_url(postgres: PostgresDatabases) -> str:
    return postgres.create_database()


@pytest.fixture
def network(database_url: str) -> Iterator[TcpProxy]:
    port = urlsplit(database_url).port
    assert port is not None
    with proxied(port) as proxy:
        yield proxy


@pytest.fixture
async def store(database_url: str, network: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(postgresql, "CONNECT_SECONDS", 0.3)
    parts = urlsplit(database_url)
    place = f"{parts.username}:{parts.password}@127.0.0.1:{network.port}"
    store = await Store.open(urlunsplit(parts._replace(netloc=place)))
    yield store
    await store.close()


@pytest.mark.parametrize("how", ["refuse", "swallow"])
async def test_who_asks_while_it_cannot_be_reached_is_refused_without_another_try(
    store: Store, network: TcpProxy, how: str
) -> None:
    await store.close()  # so that it needs new connections
    getattr(network, how)()
    with pytest.raises(Unavailable, match="cannot be used"):
        await store.ping()
    tries = network.accepted
    for _ in range(5):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await store.ping()
    assert network.accepted == tries


async def test_a_connection_that_was_cut_is_no_reason_to_refuse_others(store: Store, network: TcpProxy) -> None:
    cut = 0
    for _ in range(10):
        await store.ping()
        assert network.cut() > 0
        # It may be noticed before it is used: then nobody is refused at all.
        try:
            await store.ping()
        except Unavailable:
            cut += 1
        await store.ping()
    assert cut > 0


async def use_a_connection_that_is_terminated(store: Store, terminate: Callable[[int], object]) -> None:
    async with store.read() as connection:
        is_lost = asyncio.Event()
        link = (await connection.get_raw_connection()).driver_connection
        link.add_termination_listener(lambda _: is_lost.set())
        terminate((await connection.execute(sa.select(sa.func.pg_backend_pid()))).scalar_one())
        await is_lost.wait()
        await connection.execute(sa.select(1))


async def test_a_clock_that_goes_back_costs_no_connections(
    store: Store, network: TcpProxy, postgres: PostgresDatabases, database_url: str
) -> None:
    """A pool may remember when it lost a connection, by the clock on the wall, and mistrust all that seem older."""
    with pytest.raises(Unavailable):
        await use_a_connection_that_is_terminated(
            store, lambda pid: postgres.execute(f"SELECT pg_terminate_backend({pid})", database_url)
        )
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=1), tick=True):
        await store.ping()
        connections = network.accepted
        for _ in range(5):
            await store.ping()
        assert network.accepted == connections
