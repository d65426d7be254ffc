"""The clients of all nodes: what this one knows of its own, and what it hears of others'.

Without a bus between nodes this is what one node knows, and it says so.
"""

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from msgspec import Struct

from fader_server.bus import Bus, MessagesLost
from fader_server.chores import persistently
from fader_server.clients.client import Client, Identity
from fader_server.clients.happenings import Happening, Happenings, What
from fader_server.clients.notes import (
    ClientNote,
    ClientsHappened,
    ClientsListed,
    ClientsMoved,
    ClientsSaid,
    ClientsWanted,
    NodeClients,
    Place,
    Placed,
)
from fader_server.clients.peers import Peers
from fader_server.clients.roster import Roster
from fader_server.clients.tally import Acknowledged, Shown, Tally, added, shown, tally
from fader_server.telemetry import ConnectedClients, Metrics

_TELL_SECONDS: Final = 0.1
"""Between two summaries of clients that come, go and acknowledge."""

_ALIVE_SECONDS: Final = 1.0
"""Between two when nothing happens."""

_HAPPENINGS: Final = 20
"""Clients that come or go within one of these, of which others are told by name."""

_ANSWER_SECONDS: Final = 1.0
"""How long other nodes may take to list their clients."""

_YOUNG_SECONDS: Final = 60.0
"""For so long after its start, a node that stands alone may not have heard of all who were connected before."""


class Acknowledgements(Struct, frozen=True, kw_only=True):
    """How far a revision has come, at all nodes that are heard.

    Args:
        tally: The numbers.
        nodes: How many nodes they are of.
        is_everything: Whether these are all that there are.
        notes: What there is to know beside the numbers, a sentence each.
        counting_since: When this server began to count, in seconds since the epoch of Unix, if nobody else counts: then
            it knows nobody who has not come back since. ``None`` if others do.
    """

    tally: Tally
    nodes: int
    is_everything: bool
    notes: tuple[str, ...] = ()
    counting_since: float | None = None


class Listed(Struct, frozen=True):
    """A client, and the node that it is at."""

    node: str
    client: Shown


class _Outbox:
    """What is to be told of one environment, together with what else happens within a moment."""

    def __init__(self) -> None:
        self.moved: dict[str, str] = {}
        self.acknowledged: list[Acknowledged] = []
        self.goodbyes: list[str] = []
        self.happenings: deque[Happening] = deque(maxlen=_HAPPENINGS)


class Gathering:
    """Knows of clients, near and far.

    Args:
        node: This node's name, which no other has.
        bus: Where other nodes are heard, if they can be.
        is_all: Whether this node, and those that are heard on the bus, are all that there can be.
        clock: Seconds since the epoch.
        monotonic: Seconds that do not go back.
        metrics: Where acknowledgements are counted.
    """

    def __init__(
        self,
        node: str,
        bus: Bus[ClientNote] | None,
        is_all: bool,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self.node = node
        self._bus = bus
        self._is_all = is_all
        self._clock = clock
        self._monotonic = monotonic
        self._metrics = metrics
        self._began, self._since = monotonic(), clock()
        self._rosters: dict[Place, Roster] = {}
        self._peers = Peers(monotonic)
        self._outboxes: dict[Place, _Outbox] = defaultdict(_Outbox)
        self._answers: dict[str, asyncio.Queue[ClientsListed]] = {}
        self._happenings: dict[Place, Happenings] = defaultdict(Happenings)
        self._told: dict[Place, int] = {}

    # This node's clients.

    def roster(self, project: str, environment: str) -> Roster:
        """Those of one environment."""
        place = Place(project, environment)
        roster = self._rosters.get(place)
        if roster is None:
            roster = self._rosters[place] = Roster(self._clock, self._metrics, partial(self._happened, place))
        return roster

    def rosters(self) -> list[tuple[Place, Roster]]:
        """All that there are."""
        return list(self._rosters.items())

    def connected_clients(self) -> list[ConnectedClients]:
        """How many of this node's clients are in which state, for whoever watches it."""
        return [
            ConnectedClients(
                place.project,
                place.environment,
                {
                    "connected": roster.streams,
                    "polling": roster.polls,
                    "lost": roster.losses,
                    "refused": roster.refusals,
                },
            )
            for place, roster in self._rosters.items()
        ]

    def forget(self, project: str, environment: str) -> None:
        """An environment is gone."""
        self._rosters.pop(Place(project, environment), None)

    def connected(
        self, project: str, environment: str, identity: Identity, held: tuple[str, int] | None, came_from: str
    ) -> Client:
        """A client has opened a stream here.

        Args:
            held: Epoch and revision of what it has.
            came_from: The node that it had a stream from before; empty for a process's first.
        """
        epoch, revision = held or (None, 0)
        roster = self.roster(project, environment)
        client = roster.connected(identity, epoch, revision, came_from=came_from)
        if came_from != self.node:
            self._tell_moved(Place(project, environment), identity.instance, came_from)
        return client

    def polled(self, project: str, environment: str, identity: Identity, epoch: str, revision: int) -> None:
        """A client without a stream was given this."""
        if self.roster(project, environment).polled(identity, epoch, revision):
            self._tell_moved(Place(project, environment), identity.instance, "")

    def polled_again(self, project: str, environment: str, instance: str, epoch: str, revision: int) -> bool:
        """A client that may have polled before was given this.

        Returns:
            Whether it has. If not, nothing was noted, and it is for ``polled`` to do so.
        """
        roster = self._rosters.get(Place(project, environment))
        return roster is not None and roster.polled_again(instance, epoch, revision)

    def acknowledged(self, project: str, environment: str, said: Acknowledged, at: str) -> None:
        """A client, of this node or another, has applied or refused a revision.

        Args:
            at: The node of its stream; empty if it does not say.
        """
        place = Place(project, environment)
        roster = self._rosters.get(place)
        is_known = roster is not None and roster.acknowledged(said)
        if self._bus is not None and not (is_known and at in ("", self.node)):
            self._outboxes[place].acknowledged.append(said)

    def said_goodbye(self, project: str, environment: str, instance: str, at: str) -> None:
        """A client, of this node or another, has ended in order.

        Args:
            at: The node of its stream; empty if it does not say.
        """
        place = Place(project, environment)
        roster = self._rosters.get(place)
        is_known = roster is not None and roster.said_goodbye(instance)
        if self._bus is not None and not (is_known and at in ("", self.node)):
            self._outboxes[place].goodbyes.append(instance)

    def happenings(self, project: str, environment: str) -> Happenings:
        """Clients that have come and gone lately."""
        return self._happenings[Place(project, environment)]

    def _happened(self, place: Place, what: What, client: Client) -> None:
        happening = Happening(what, self.node, shown(client))
        self._happenings[place].add(happening)
        if self._bus is not None:
            self._outboxes[place].happenings.append(happening)

    def _tell_moved(self, place: Place, instance: str, came_from: str) -> None:
        self._peers.note_moved(place, {instance: came_from})
        if self._bus is not None:
            self._outboxes[place].moved[instance] = came_from

    # All nodes' clients.

    def acknowledgements(self, project: str, environment: str, epoch: str, revision: int) -> Acknowledgements:
        """How far a revision has come."""
        place = Place(project, environment)
        tallies = [tally(self.roster(project, environment).summary(), epoch, revision)]
        notes: list[str] = []
        nodes = 1
        # While others cannot be heard, what they said last is worth nothing.
        if self._hears_peers:
            heard = self._peers.acknowledgements(place, epoch, revision)
            nodes, tallies, notes = nodes + heard.nodes, tallies + heard.tallies, notes + heard.notes
        if not self.hears_all:
            notes.append("only clients of one node are counted: others cannot be heard without Redis")
        total = added(tallies)
        if total.unnamed:
            notes.append(f"{total.unnamed:,} streams do not say whose they are, and cannot acknowledge")
        age = self._monotonic() - self._began
        is_alone = self._bus is None
        if is_alone and age < _YOUNG_SECONDS:
            notes.append(f"this server started {age:.0f} s ago; who was connected before may not be back yet")
        return Acknowledgements(
            tally=total,
            nodes=nodes,
            is_everything=self.hears_all,
            notes=tuple(notes),
            counting_since=self._since if is_alone else None,
        )

    @property
    def hears_all(self) -> bool:
        """Whether all nodes are heard."""
        return self._is_all and (self._bus is None or self._hears_peers)

    @property
    def _hears_peers(self) -> bool:
        return self._bus is not None and self._bus.hears_all

    async def clients(self, project: str, environment: str) -> list[Listed]:
        """All clients of an environment, one by one, of all nodes that answer in time."""
        place = Place(project, environment)
        found = [Listed(self.node, shown(client)) for client in self.roster(project, environment).clients()]
        for answer in await self._ask(place):
            found += [Listed(answer.node, client) for client in answer.clients]
        # Whoever has moved, or polls here and there, may be known at several: the newest word counts.
        newest: dict[str, Listed] = {}
        for listed in found:
            known = newest.get(listed.client.instance)
            if known is None or listed.client.heard > known.client.heard:
                newest[listed.client.instance] = listed
        return sorted(newest.values(), key=lambda one: (one.client.app, one.client.host, one.client.instance))

    async def _ask(self, place: Place) -> list[ClientsListed]:
        wanted = self._peers.live
        if self._bus is None or not wanted:
            return []
        request = secrets.token_hex(8)
        answers = self._answers[request] = asyncio.Queue()
        found: list[ClientsListed] = []
        try:
            await self._bus.publish(ClientsWanted(request, place))
            async with asyncio.timeout(_ANSWER_SECONDS):
                while len(found) < wanted:
                    found.append(await answers.get())
        except TimeoutError:
            pass  # those who have answered are better than nothing
        finally:
            del self._answers[request]
        return found

    # Between nodes.

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell and hear, for as long as the context is open."""
        tending = asyncio.create_task(persistently(self._tend))
        try:
            if self._bus is None:
                yield
                return
            async with self._bus.subscribe() as notes:
                chores = [asyncio.create_task(persistently(chore)) for chore in (lambda: self._hear(notes), self._tell)]
                try:
                    yield
                finally:
                    for chore in chores:
                        chore.cancel()
                    await asyncio.gather(*chores, return_exceptions=True)
                    # The last word: who is missed from here on is in it.
                    await self._bus.publish(self._summaries())
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            for roster in self._rosters.values():
                roster.tend()
            self._peers.forget_old()

    async def _tell(self) -> None:
        assert self._bus is not None  # noqa: S101 (started only with one)
        told = 0.0
        while True:
            for place, outbox in self._take_outboxes():
                if outbox.moved:
                    await self._bus.publish(ClientsMoved(self.node, place, outbox.moved))
                if outbox.happenings:
                    await self._bus.publish(ClientsHappened(place, tuple(outbox.happenings), self.node))
                if outbox.acknowledged or outbox.goodbyes:
                    said = ClientsSaid(place, tuple(outbox.acknowledged), tuple(outbox.goodbyes))
                    await self._bus.publish(said)
            now = self._monotonic()
            versions = {place: roster.version for place, roster in self._rosters.items()}
            if versions != self._told or now - told >= _ALIVE_SECONDS:
                self._told, told = versions, now
                await self._bus.publish(self._summaries())
            await asyncio.sleep(_TELL_SECONDS)

    def _take_outboxes(self) -> Iterable[tuple[Place, _Outbox]]:
        outboxes, self._outboxes = self._outboxes, defaultdict(_Outbox)
        return outboxes.items()

    def _summaries(self) -> NodeClients:
        return NodeClients(self.node, tuple(Placed(place, roster.summary()) for place, roster in self._rosters.items()))

    async def _hear(self, notes: AsyncIterator[ClientNote | MessagesLost]) -> None:
        async for note in notes:
            match note:
                case NodeClients() | ClientsMoved() | ClientsListed() | ClientsHappened() if note.node == self.node:
                    pass  # our own word
                case NodeClients():
                    self._peers.hear(note)
                case ClientsMoved():
                    self._let_go(note)
                case ClientsHappened(place, happenings):
                    for happening in happenings:
                        self._happenings[place].add(happening)
                case ClientsSaid():
                    self._pass_on(note)
                case ClientsWanted(request, place) if request not in self._answers:
                    await self._list(request, place)
                case ClientsListed(request) if request in self._answers:
                    self._answers[request].put_nowait(note)
                case _:
                    pass

    def _let_go(self, moved: ClientsMoved) -> None:
        self._peers.note_moved(moved.place, moved.instances)
        roster = self._rosters.get(moved.place)
        if roster is not None:
            roster.moved(moved.instances, moved.node)

    def _pass_on(self, said: ClientsSaid) -> None:
        # Who serves nothing has nobody: a roster made for this would say that it is behind.
        roster = self._rosters.get(said.place)
        if roster is None:
            return
        for acknowledged in said.acknowledged:
            roster.acknowledged(acknowledged)
        for instance in said.goodbyes:
            roster.said_goodbye(instance)

    async def _list(self, request: str, place: Place) -> None:
        assert self._bus is not None  # noqa: S101 (the question came from it)
        roster = self._rosters.get(place)
        clients = () if roster is None else tuple(shown(client) for client in roster.clients())
        await self._bus.publish(ClientsListed(request, self.node, clients))
