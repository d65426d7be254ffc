"""The bus between servers, on a real Redis that comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from fader_server.bus import BusMessage, CredentialRevoked, EnvironmentRemoved, Message, MessagesLost, RevisionHint
from fader_server.bus.redis_bus import RedisBus
from fader_server.redis_client import redis_client
from services.redis_server import RedisDatabases, RedisServer
from services.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.anyio

HINT = RevisionHint("p", "e", 7)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return f"test:{request.node.name}"


@pytest.fixture
def mortal() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be killed."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def proxy(mortal: RedisServer) -> Iterator[TcpProxy]:
    with proxied(mortal.port) as proxy:
        yield proxy


@asynccontextmanager
async def node(url: str, channel: str) -> AsyncIterator[RedisBus[Message]]:
    """One server's end of the bus."""
    client = redis_client(url)
    bus: RedisBus[Message] = RedisBus(client, channel, of=Message)
    try:
        async with bus.running():
            yield bus
    finally:
        await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another program
            await asyncio.sleep(0.01)


async def heard(messages: AsyncIterator[Message], count: int) -> list[Message]:
    """The next messages that say more than that some were lost."""
    found: list[Message] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            message = await anext(messages)
            if not isinstance(message, MessagesLost):
                found.append(message)
    return found


async def test_what_one_server_says_all_hear_once_and_in_order(redis_server: RedisDatabases, channel: str) -> None:
    sent: list[Message] = [HINT, CredentialRevoked("k"), EnvironmentRemoved("p", "e"), RevisionHint("p", "f", 1)]
    async with node(redis_server.url, channel) as first, node(redis_server.url, channel) as second:
        await until(lambda: first.hears_all and second.hears_all)
        async with first.subscribe() as here, second.subscribe() as there:
            for message in sent:
                await first.publish(message)
            assert await heard(there, 4) == sent
            await second.publish(CredentialRevoked("last"))
            assert await heard(here, 5) == [*sent, CredentialRevoked("last")]


async def test_installations_that_share_a_redis_do_not_hear_each_other(
    redis_server: RedisDatabases, channel: str
) -> None:
    url = redis_server.url
    async with node(url, channel) as first, node(url, channel) as second, node(url, f"{channel}:other") as other:
        await until(lambda: first.hears_all and other.hears_all and second.hears_all)
        async with second.subscribe() as messages:
            await other.publish(CredentialRevoked("theirs"))
            await first.publish(CredentialRevoked("ours"))
            assert await heard(messages, 1) == [CredentialRevoked("ours")]


async def test_what_is_only_for_here_stays_here(redis_server: RedisDatabases, channel: str) -> None:
    async with node(redis_server.url, channel) as first, node(redis_server.url, channel) as second:
        await until(lambda: first.hears_all and second.hears_all)
        async with first.subscribe() as here, second.subscribe() as there:
            await first.publish_here(CredentialRevoked("here"))
            await first.publish(CredentialRevoked("all"))
            assert await heard(here, 2) == [CredentialRevoked("here"), CredentialRevoked("all")]
            assert await heard(there, 1) == [CredentialRevoked("all")]


async def test_whoever_connects_is_told_that_it_may_have_missed_something(
    redis_server: RedisDatabases, channel: str
) -> None:
    async with node(redis_server.url, channel) as bus, bus.subscribe() as messages:
        async with asyncio.timeout(20):
            assert await anext(messages) == MessagesLost()
        assert bus.hears_all


async def test_what_a_later_version_says_counts_as_lost(redis_server: RedisDatabases, channel: str) -> None:
    client = redis_client(redis_server.url)
    async with node(redis_server.url, channel) as bus:
        await until(lambda: bus.hears_all)
        async with bus.subscribe() as messages:
            for said in (b"nonsense", b'{"sender": "x", "message": {"type": "Unheard", "of": 1}}', b"\xff"):
                await client.publish(channel, said)
                async with asyncio.timeout(20):
                    assert await anext(messages) == MessagesLost()
    await client.aclose()


async def test_a_redis_that_dies_and_comes_back(mortal: RedisServer, channel: str) -> None:
    async with node(mortal.url, channel) as first, node(mortal.url, channel) as second:
        await until(lambda: first.hears_all and second.hears_all)
        mortal.kill()
        async with first.subscribe() as here, second.subscribe() as there:
            await until(lambda: not first.hears_all and not second.hears_all)
            async with asyncio.timeout(1):
                await first.publish(HINT)
            assert await heard(here, 1) == [HINT]
            mortal.start()
            await until(lambda: first.hears_all and second.hears_all)
            # What could not be said is said now; but whoever was away longer than that must ask the database.
            told = [await anext(there)]
            await first.publish(CredentialRevoked("k"))
            while told[-1] != CredentialRevoked("k"):
                told.append(await anext(there))
            assert MessagesLost() in told
            await second.publish(CredentialRevoked("l"))
            assert await heard(here, 2) == [CredentialRevoked("k"), CredentialRevoked("l")]


async def test_a_redis_that_is_not_there_at_the_start(mortal: RedisServer, channel: str) -> None:
    mortal.kill()
    async with node(mortal.url, channel) as bus:
        async with bus.subscribe() as messages:
            await bus.publish(HINT)
            assert await heard(messages, 1) == [HINT]
        assert not bus.hears_all
        mortal.start()
        await until(lambda: bus.hears_all)


async def test_a_silent_connection_is_noticed_and_replaced(mortal: RedisServer, proxy: TcpProxy, channel: str) -> None:
    async with node(mortal.url_by(proxy.port), channel) as far, node(mortal.url, channel) as near:
        await until(lambda: far.hears_all and near.hears_all)
        proxy.swallow()
        await until(lambda: not far.hears_all)
        proxy.restore()
        await until(lambda: far.hears_all)
        async with far.subscribe() as messages:
            await near.publish(HINT)
            assert await heard(messages, 1) == [HINT]


async def test_what_is_said_last_still_gets_out(redis_server: RedisDatabases, channel: str) -> None:
    async with node(redis_server.url, channel) as stays:
        await until(lambda: stays.hears_all)
        async with stays.subscribe() as messages:
            async with node(redis_server.url, channel) as leaves:
                await leaves.close()
                await leaves.publish(CredentialRevoked("k"))
            assert await heard(messages, 1) == [CredentialRevoked("k")]


async def test_a_wrong_password_is_no_reason_to_fail(mortal: RedisServer, channel: str) -> None:
    async with node(mortal.url.replace(mortal.password, "wrong"), channel) as bus, bus.subscribe() as messages:
        await bus.publish(HINT)
        assert await heard(messages, 1) == [HINT]
        assert not bus.hears_all


class Greeting(BusMessage, frozen=True, tag=True):
    """A message of another family."""

    words: list[str]


async def test_each_family_of_messages_has_a_channel_of_its_own(redis_server: RedisDatabases, channel: str) -> None:
    client = redis_client(redis_server.url)
    first: RedisBus[Greeting] = RedisBus(client, f"{channel}:greetings", of=Greeting)
    second: RedisBus[Greeting] = RedisBus(client, f"{channel}:greetings", of=Greeting)
    async with node(redis_server.url, channel) as hints, first.running(), second.running():
        await until(lambda: hints.hears_all and first.hears_all and second.hears_all)
        async with second.subscribe() as greetings, asyncio.timeout(20):
            await hints.publish(HINT)
            await first.publish(Greeting(["hello"]))
            assert await anext(greetings) == Greeting(["hello"])
    await client.aclose()
