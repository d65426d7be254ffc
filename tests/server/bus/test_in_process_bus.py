"""The bus: everybody hears everything that they must know, and nobody waits for anybody."""

import asyncio
from typing import Any

import pytest

from fader_server.bus import Bus, CredentialRevoked, EnvironmentRemoved, Message, RevisionHint
from fader_server.bus.in_process import InProcessBus

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[InProcessBus])
def bus(request: pytest.FixtureRequest) -> Bus[Message]:
    bus: Bus[Message] = request.param()
    return bus


async def _take(messages: Any, count: int) -> list[Message]:
    async with asyncio.timeout(5):
        return [await anext(messages) for _ in range(count)]


async def test_all_subscribers_hear_all_messages_in_order(bus: Bus[Message]) -> None:
    sent: list[Message] = [
        RevisionHint("p", "a", 1),
        CredentialRevoked("k"),
        RevisionHint("p", "b", 1),
        EnvironmentRemoved("p", "b"),
    ]
    async with bus.subscribe() as first, bus.subscribe() as second:
        for message in sent:
            await bus.publish(message)
        assert await _take(first, 4) == sent
        assert await _take(second, 4) == sent


async def test_a_slow_subscriber_hears_only_the_newest_of_each_environment(bus: Bus[Message]) -> None:
    async with bus.subscribe() as messages:
        for revision in range(1, 1001):
            await bus.publish(RevisionHint("p", "a", revision))
            await bus.publish(RevisionHint("p", "b", revision))
        await bus.publish(RevisionHint("p", "a", 7))
        await bus.publish(CredentialRevoked("k"))
        assert await _take(messages, 3) == [
            RevisionHint("p", "a", 1000),
            RevisionHint("p", "b", 1000),
            CredentialRevoked("k"),
        ]


async def test_a_subscription_begins_when_it_is_entered(bus: Bus[Message]) -> None:
    await bus.publish(CredentialRevoked("before"))
    async with bus.subscribe() as messages:
        await bus.publish(CredentialRevoked("after"))
        assert await _take(messages, 1) == [CredentialRevoked("after")]
    await bus.publish(CredentialRevoked("gone"))


async def test_a_waiting_subscriber_is_woken(bus: Bus[Message]) -> None:
    async with bus.subscribe() as messages:
        waiting = asyncio.ensure_future(_take(messages, 1))
        await asyncio.sleep(0)
        await bus.publish(CredentialRevoked("k"))
        assert await waiting == [CredentialRevoked("k")]


async def test_closing_ends_all_subscriptions_once_they_have_read(bus: Bus[Message]) -> None:
    async with bus.subscribe() as messages:
        await bus.publish(CredentialRevoked("k"))
        await bus.close()
        assert [message async for message in messages] == [CredentialRevoked("k")]
    async with bus.subscribe() as messages:
        assert [message async for message in messages] == []
    await bus.publish(CredentialRevoked("nobody hears"))
