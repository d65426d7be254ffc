"""What workers of a node say to each other through their parent: all of it, in order, and nobody waits for anybody."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from fader_server.bus import CredentialRevoked, Message, MessagesLost, RevisionHint
from fader_server.bus.worker_bus import WorkerBus
from fader_server.workers.hub import Hub
from fader_server.workers.link import Link

pytestmark = pytest.mark.anyio

HELD = 200_000


class Node:
    """The parent's end and the workers' ends, in one event loop."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.serving: list[int] = []
        self.hub = Hub(self.serving.append, held=HELD)

    async def worker(self, number: int) -> Link:
        ours, theirs = socket.socketpair()
        await self.hub.admit(number, ours)
        link = Link(number, 3, theirs, held=HELD)
        await self._stack.enter_async_context(link.running())
        return link


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        yield Node(stack)


class Ear:
    """Hears a channel."""

    def __init__(self, link: Link, channel: str = "c") -> None:
        self.heard: list[bytes] = []
        self.losses = 0
        link.listen(channel, self.heard.append, self._lost)

    def _lost(self) -> None:
        self.losses += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it becomes true by what other sockets bring
            await asyncio.sleep(0.001)


async def test_all_others_hear_what_one_says_and_it_does_not(node: Node) -> None:
    first, second, third = [await node.worker(number) for number in (1, 2, 3)]
    ears = [Ear(link) for link in (first, second, third)]
    elsewhere = Ear(second, "d")
    for number in range(100):
        first.say("c", b"%d" % number)
    sent = [b"%d" % number for number in range(100)]
    await until(lambda: ears[1].heard == sent and ears[2].heard == sent)
    assert ears[0].heard == elsewhere.heard == []


async def test_one_worker_can_be_told_alone(node: Node) -> None:
    first, second, third = [await node.worker(number) for number in (1, 2, 3)]
    ears = [Ear(link) for link in (first, second, third)]
    first.say("c", b"to nobody", to=9)
    first.say("c", b"to the third", to=3)
    first.say("c", b"to all")
    await until(lambda: ears[1].heard == [b"to all"] and ears[2].heard == [b"to the third", b"to all"])


async def test_large_frames_come_through_whole(node: Node) -> None:
    first, second = [await node.worker(number) for number in (1, 2)]
    ear = Ear(second)
    bodies = [bytes([number]) * 70_000 for number in range(2)]
    for body in bodies:
        first.say("c", body)
    await until(lambda: ear.heard == bodies)


async def test_workers_know_who_else_serves(node: Node) -> None:
    first, second, third = [await node.worker(number) for number in (1, 2, 3)]
    first.serving()
    second.serving()
    await until(lambda: first.peers == {2} and second.peers == {1} and third.peers == {1, 2})
    assert node.serving == [1, 2]
    node.hub.dismiss(2)
    await until(lambda: first.peers == frozenset() and third.peers == {1})
    await until(lambda: not second.is_connected)


async def test_what_a_worker_could_not_say_is_told_to_all(node: Node) -> None:
    first, second = [await node.worker(number) for number in (1, 2)]
    ear = Ear(second)
    for _ in range(100):  # more at once than may wait for the parent
        first.say("c", b"x" * 20_000)
    await until(lambda: ear.losses == 1)
    assert 0 < len(ear.heard) < 100
    first.say("c", b"and on")
    await until(lambda: ear.heard[-1] == b"and on")


async def test_a_worker_that_does_not_read_delays_nobody_and_is_told_of_its_loss(node: Node) -> None:
    first, third = await node.worker(1), await node.worker(3)
    ear = Ear(third)
    ours, theirs = socket.socketpair()  # of a worker that has stopped
    await node.hub.admit(2, ours)
    for said in range(1, 101):
        first.say("c", b"x" * 20_000)
        await until(lambda: len(ear.heard) == said)  # noqa: B023 - called at once
    assert HELD < node.hub.waiting(2) < HELD + 50_000
    assert ear.losses == 0
    second = Link(2, 3, theirs)
    late = Ear(second)
    async with second.running():
        await until(lambda: late.losses == 1)
        heard = len(late.heard)
        assert heard < 100
        first.say("c", b"and on")
        await until(lambda: late.heard[-1] == b"and on")
        assert (len(late.heard), late.losses) == (heard + 1, 1)


async def test_whoever_hears_nothing_any_more_knows_it(node: Node) -> None:
    link = await node.worker(1)
    ear = Ear(link)
    assert link.is_connected
    node.hub.dismiss(1)
    await until(lambda: not link.is_connected)
    assert ear.losses == 1
    link.say("c", b"into the void")


async def test_a_bus_over_it(node: Node) -> None:
    links = [await node.worker(number) for number in (1, 2)]
    buses: list[WorkerBus[Message]] = [WorkerBus(link, "bus", of=Message) for link in links]
    lonely: WorkerBus[Message] = WorkerBus(links[0], "other", of=Message, hears_all=False)
    assert [bus.hears_all for bus in (*buses, lonely)] == [True, True, False]
    sent: list[Message] = [RevisionHint("p", "e", 7, "00-trace"), CredentialRevoked("k")]
    async with buses[0].subscribe() as here, buses[1].subscribe() as there:
        await buses[0].publish_here(CredentialRevoked("only here"))
        for message in sent:
            await buses[0].publish(message)
        assert await _take(here, 3) == [CredentialRevoked("only here"), *sent]
        assert await _take(there, 2) == sent
        # An upgrade in place may bring a worker that says more than this one knows.
        links[0].say("bus", b"nonsense")
        assert await _take(there, 1) == [MessagesLost()]
        node.hub.dismiss(2)
        assert await _take(there, 1) == [MessagesLost()]
        assert not buses[1].hears_all
        await buses[1].close()
        assert [message async for message in there] == []


async def _take(messages: AsyncIterator[Message], count: int) -> list[Message]:
    async with asyncio.timeout(20):
        return [await anext(messages) for _ in range(count)]
