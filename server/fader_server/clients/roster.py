"""The clients of one environment at one node: who is there, who has come how far, who is missed."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from fader_server.clients.client import NOTHING, OTHER, Client, Identity, Refusal
from fader_server.clients.happenings import What
from fader_server.clients.propagation import Stopwatch
from fader_server.clients.tally import Acknowledged, Summary, Timed, shown
from fader_server.telemetry import Metrics

LOST_SECONDS: Final = 90.0
"""How long a client is waited for that has lost its stream without a goodbye. An SDK notices a silent connection within
30 s, and tries again within 30 s at most: whoever has not been heard by then is gone."""

_GRACE_SECONDS: Final = 1.0
"""Before it is told that somebody is missed: an SDK's goodbye comes just after the end of its stream."""

_POLLS_SECONDS: Final = 180.0
"""After so long without asking, a client that polls is gone."""

_WORD_SECONDS: Final = 5.0
"""So long word may take from one node to another."""

_REVISIONS: Final = 64
"""Of so many of the newest revisions it is timed how long they took."""

_TOLD: Final = 16
"""Of so many of these it is told to other nodes."""

_NAMED: Final = 20
"""Clients that are named where others are only counted."""

_A_SECOND: Final = 5_000
"""Acknowledgements that a node is to be sent: as many as it takes in beside its other work."""

_STEADILY: Final = 2_000
"""The same while changes follow each other: then it goes on for longer than a moment, and changes come first."""

_STEADY_SECONDS: Final = 1.0
"""Changes follow each other that are not further apart than this."""

_FEW: Final = 50
"""So many clients may acknowledge at once."""


class Roster:
    """All happens on one event loop.

    Args:
        clock: Seconds since the epoch.
        metrics: Where acknowledgements are counted.
        tell: Told of each client that comes or goes.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        metrics: Metrics,
        tell: Callable[[What, Client], None] = lambda _what, _who: None,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._tell = tell
        self._clients: dict[str, Client] = {}
        self._polling: dict[str, Client] = {}
        self._at: Counter[int] = Counter()  # clients with a stream, or lost, by revision
        self._lost: dict[str, Client] = {}
        self._refused: dict[str, Client] = {}
        self._stopwatches: dict[int, Stopwatch] = {}
        self._epoch = ""
        self._revision = 0
        self._served = 0.0
        self.unnamed = 0
        """Streams of clients that do not say who they are: nobody can know how far they have come."""
        self.version = 0
        """Grows with everything that happens here."""

    # What is served.

    def serves(self, epoch: str, revision: int, committed: float | None = None) -> None:
        """From now on, this is what clients are sent; ``committed`` says when it was written, if it has just been."""
        if epoch != self._epoch:
            self._begin(epoch)
        self._revision = revision
        self.version += 1
        if committed is not None:
            self._served = self._clock()
            self._stopwatches[revision] = Stopwatch(committed)
            while len(self._stopwatches) > _REVISIONS:
                del self._stopwatches[next(iter(self._stopwatches))]

    def _begin(self, epoch: str) -> None:
        self._epoch = epoch
        self._stopwatches.clear()
        self._refused.clear()
        self._at.clear()
        for client in (*self._clients.values(), *self._polling.values()):
            client.refusal = None
            if client.applied != NOTHING:
                client.applied = OTHER
        self._at.update(client.applied for client in self._clients.values())

    @property
    def epoch(self) -> str:
        """Of what is being served."""
        return self._epoch

    @property
    def ack_within_ms(self) -> int:
        """Milliseconds over which clients should spread their acknowledgements."""
        clients = len(self._clients)
        if clients <= _FEW:
            return 0
        is_steady = self._clock() - self._served < _STEADY_SECONDS
        return round(clients / (_STEADILY if is_steady else _A_SECOND) * 1000)

    # Clients come and go.

    def connected(self, identity: Identity, epoch: str | None, revision: int, *, came_from: str) -> Client:
        """A client has opened a stream.

        Args:
            identity: Who it is.
            epoch: Of what it holds; ``None`` if it holds nothing.
            revision: What it holds.
            came_from: The node of its last stream; empty for a process's first. How long a change took to reach it is
                of no interest if it was not there yet.
        """
        self.version += 1
        now = self._clock()
        self._polling.pop(identity.instance, None)
        client = self._clients.get(identity.instance)
        held = NOTHING if epoch is None else self._held(epoch, revision)
        if client is None:
            client = self._clients[identity.instance] = Client(identity, "stream", now, held)
            if came_from:
                client.timed_since = 0.0
            self._at[held] += 1
            self._tell("connected", client)
        else:
            if self._lost.get(identity.instance) is client and client.is_missed:
                self._tell("connected", client)
            client.is_missed = False
            self._lost.pop(identity.instance, None)
            client.lost = None
            self._advance(client, held)
        client.streams += 1
        client.came_from, client.opened = came_from, now
        client.heard = now
        return client

    def disconnected(self, client: Client) -> None:
        """A stream has ended. Who has said goodbye before, or has another one, is not missed."""
        self.version += 1
        client.streams -= 1
        instance = client.identity.instance
        if client.streams == 0 and self._clients.get(instance) is client:
            client.lost = self._clock()
            self._lost[instance] = client

    def said_goodbye(self, instance: str) -> bool:
        """A client has ended in order.

        Returns:
            Whether it was one of this node.
        """
        client = self._clients.get(instance)
        if client is None:
            return self._forget_polling(instance)
        self._forget(instance)
        self._tell("left", client)
        return True

    def moved(self, instances: Mapping[str, str], to: str) -> None:
        """These have opened streams at another node.

        Args:
            instances: Each with the node of its stream before that; empty if it does not say.
            to: The node.
        """
        for instance, came_from in instances.items():
            self._forget_polling(instance)
            client = self._clients.get(instance)
            if client is not None and (client.lost is not None or (came_from and not self._is_back(client, to))):
                self._forget(instance)

    def _is_back(self, client: Client, node: str) -> bool:
        """Whether a client has come back from a node so lately that the word of its going there may still be on its
        way. If not, its stream here is broken, and nobody has noticed it yet."""
        return client.came_from == node and self._clock() - client.opened < _WORD_SECONDS

    def polled(self, identity: Identity, epoch: str, revision: int) -> bool:
        """A client without a stream has been given this.

        Returns:
            Whether it was not known yet.
        """
        if identity.instance in self._lost:
            self._forget(identity.instance)  # it has come back, in another way
        if identity.instance in self._clients:
            return False
        is_new = identity.instance not in self._polling
        if is_new:
            self._polling[identity.instance] = Client(identity, "poll", self._clock(), NOTHING)
            self.version += 1
        self.polled_again(identity.instance, epoch, revision)
        return is_new

    def polled_again(self, instance: str, epoch: str, revision: int) -> bool:
        """A client that may have polled before has been given this.

        Returns:
            Whether it has. If not, nothing was noted.
        """
        client = self._polling.get(instance)
        if client is None:
            return False
        client.heard = self._clock()
        held = self._held(epoch, revision)
        if client.applied != held:
            client.applied, client.refusal = held, None
            self.version += 1
        return True

    def tend(self) -> None:
        """Miss those who have been away for a moment, and give up those who have been for long. To be called about once
        a second."""
        now = self._clock()
        for instance, client in list(self._lost.items()):
            away = 0.0 if client.lost is None else now - client.lost
            if away >= LOST_SECONDS:
                self._forget(instance)
            elif away >= _GRACE_SECONDS and not client.is_missed:
                client.is_missed = True
                self._tell("lost", client)
        for instance, client in list(self._polling.items()):
            if now - client.heard >= _POLLS_SECONDS:
                self._forget_polling(instance)

    def _forget(self, instance: str) -> bool:
        client = self._clients.pop(instance, None)
        self._lost.pop(instance, None)
        self._refused.pop(instance, None)
        if client is None:
            return False
        self.version += 1
        self._leave(client.applied)
        return True

    def _forget_polling(self, instance: str) -> bool:
        if self._polling.pop(instance, None) is None:
            return False
        self.version += 1
        return True

    # What they say.

    def acknowledged(self, ack: Acknowledged) -> bool:
        """A client has applied, or refused, a revision.

        Returns:
            Whether it is one of this node.
        """
        client = self._clients.get(ack.instance) or self._polling.get(ack.instance)
        if client is None:
            return False
        now = self._clock()
        client.heard = now
        if ack.epoch != self._epoch:
            return True  # of a history that has been replaced meanwhile
        self.version += 1
        if ack.error is not None and ack.revision <= client.applied:
            return True  # it has come further since it said so
        if ack.error is not None:
            self._metrics.acknowledged("refused")
            client.refusal = Refusal(ack.revision, ack.error)
            if client.transport == "stream":
                self._refused[ack.instance] = client
                self._tell("refused", client)
            return True
        self._metrics.acknowledged("applied")
        if client.transport == "stream":
            self._time(client, ack.revision, now - ack.held_ms / 1000)
            self._advance(client, ack.revision)
        return True

    def _time(self, client: Client, revision: int, applied: float) -> None:
        # From the newest back, as most have only that one to acknowledge; and only those that there are: what a client
        # says may be any number.
        for passed, stopwatch in reversed(self._stopwatches.items()):
            if passed <= client.applied:
                break
            if passed <= revision and client.timed_since <= stopwatch.committed:
                self._metrics.change_applied(stopwatch.stop(applied))

    def _advance(self, client: Client, revision: int) -> None:
        if client.applied == revision or 0 <= revision < client.applied:
            return
        self._leave(client.applied)
        client.applied = revision
        self._at[revision] += 1
        if client.refusal is not None and client.refusal.revision <= revision:
            client.refusal = None
            self._refused.pop(client.identity.instance, None)

    def _leave(self, revision: int) -> None:
        self._at[revision] -= 1
        if not self._at[revision]:
            del self._at[revision]

    def _held(self, epoch: str, revision: int) -> int:
        return revision if epoch == self._epoch else OTHER

    # What can be said of them.

    @property
    def streams(self) -> int:
        """Clients that are connected."""
        return len(self._clients) - len(self._lost)

    @property
    def polls(self) -> int:
        """Clients that poll."""
        return len(self._polling)

    @property
    def losses(self) -> int:
        """Clients that are missed."""
        return len(self._lost)

    @property
    def refusals(self) -> int:
        """Clients that have refused something, and have taken nothing since."""
        return len(self._refused)

    def clients(self) -> Iterator[Client]:
        """All, in no order."""
        yield from self._clients.values()
        yield from self._polling.values()

    def summary(self) -> Summary:
        """All in numbers, and by name who is missed or behind."""
        lost = Counter(client.applied for client in self._lost.values() if client.refusal is None)
        behind = self._behind() if len(self._at) > 1 or self._revision not in self._at else []
        return Summary(
            epoch=self._epoch,
            revision=self._revision,
            at=dict(self._at),
            lost=dict(lost),
            polling=dict(Counter(client.applied for client in self._polling.values())),
            refused=dict(Counter(client.applied for client in self._refused.values())),
            unnamed=self.unnamed,
            behind=tuple(shown(client) for client in behind),
            timed=tuple(self.timed(_TOLD)),
        )

    def timed(self, newest: int = _REVISIONS) -> list[Timed]:
        """How long so many of the newest revisions have taken so far, oldest first."""
        watches = list(self._stopwatches.items())[-newest:]
        return [Timed(revision, watch.committed, watch.result) for revision, watch in watches]

    def _behind(self) -> list[Client]:
        """Some of those who have not the newest revision: who refuses first, then who is lost, then the rest."""
        found = list(self._refused.values())[:_NAMED]
        for client in (*self._lost.values(), *self._clients.values()):
            if len(found) >= _NAMED:
                break
            is_behind = client.applied < self._revision and client.applied != NOTHING
            if client.refusal is None and is_behind and client not in found:
                found.append(client)
        return found
