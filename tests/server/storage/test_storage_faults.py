"""A PostgreSQL that is not to be reached: who asks is refused, at once where that is known already."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

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
