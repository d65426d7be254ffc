"""What nodes say of their clients, and what follows from it for one revision. Values in, values out."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from fader_server.clients.client import NOTHING, Client
from fader_server.clients.propagation import Propagation, together

State: TypeAlias = Literal["connected", "starting", "refused", "lost"]
Counts: TypeAlias = Mapping[int, int]
"""Revision, or ``NOTHING``, or ``OTHER``, to a number of clients."""


class Acknowledged(Struct, frozen=True, kw_only=True):
    """A client's word on one revision.

    Args:
        instance: Whose.
        epoch: Of the revision.
        revision: What it evaluates with now, or what it refuses.
        held_ms: Milliseconds for which it has kept this to itself.
        error: Why it refuses; ``None`` if it does not.
    """

    instance: str
    epoch: str
    revision: int
    held_ms: float = 0.0
    error: str | None = None


class Shown(Struct, frozen=True, kw_only=True):
    """A client, as it is told of. Times are in seconds since the epoch.

    Args:
        revision: What it evaluates with; or ``NOTHING``, or ``OTHER``.
        error: Why it refuses what it was sent, if it does.
    """

    instance: str
    app: str
    host: str
    sdk: str
    sdk_version: str
    transport: Literal["stream", "poll"]
    state: State
    revision: int
    since: float
    heard: float
    error: str = ""


def shown(client: Client) -> Shown:
    """What is told of a client."""
    identity = client.identity
    if client.refusal is not None:
        state: State = "refused"
    elif client.lost is not None:
        state = "lost"
    else:
        state = "starting" if client.applied == NOTHING else "connected"
    return Shown(
        instance=identity.instance,
        app=identity.app,
        host=identity.host,
        sdk=identity.sdk,
        sdk_version=identity.sdk_version,
        transport=client.transport,
        state=state,
        revision=client.applied,
        since=client.since,
        heard=client.heard,
        error="" if client.refusal is None else client.refusal.error,
    )


class Timed(Struct, frozen=True):
    """How long a revision took to reach the clients of a node."""

    revision: int
    committed: float
    propagation: Propagation


class Summary(Struct, frozen=True, kw_only=True):
    """The clients of one environment at one node.

    Args:
        epoch: That is served.
        revision: That is served.
        at: Clients with a stream, and those that have lost theirs, by what they evaluate with.
        lost: Those of them that have lost it, and refuse nothing.
        refused: Those of them that refuse what they were sent.
        polling: Clients that poll, by what they were given.
        unnamed: Streams of which nobody knows whose they are.
        behind: Some of those who have not the newest revision, by name.
        timed: The newest revisions, oldest first.
    """

    epoch: str
    revision: int
    at: dict[int, int] = {}
    lost: dict[int, int] = {}
    refused: dict[int, int] = {}
    polling: dict[int, int] = {}
    unnamed: int = 0
    behind: tuple[Shown, ...] = ()
    timed: tuple[Timed, ...] = ()


class Tally(Struct, frozen=True, kw_only=True):
    """How far one revision has come. Every client that is waited for is in one of the first four."""

    applied: int = 0
    waiting: int = 0
    refused: int = 0
    lost: int = 0
    starting: int = 0
    """Connected, and without any flags yet."""
    polling: int = 0
    polling_applied: int = 0
    unnamed: int = 0
    missing: tuple[Shown, ...] = ()
    propagation: Propagation = Propagation()
    is_served: bool = True
    """Whether every node serves the revision, or a later one: if not, somebody may come and be given an older one."""

    @property
    def clients(self) -> int:
        """All who are waited for."""
        return self.applied + self.waiting + self.refused + self.lost

    @property
    def is_complete(self) -> bool:
        """Whether all have it."""
        return self.is_served and self.applied == self.clients


def tally(summary: Summary, epoch: str, revision: int) -> Tally:
    """How far a revision has come at one node."""
    if summary.epoch != epoch:
        # It serves another history, and all of its clients have yet to hear of this one: nobody can have refused it.
        lost = sum(summary.lost.values()) - summary.lost.get(NOTHING, 0)
        starting = summary.at.get(NOTHING, 0)
        return Tally(
            waiting=sum(summary.at.values()) - starting - lost,
            lost=lost,
            starting=starting,
            polling=sum(summary.polling.values()),
            unnamed=summary.unnamed,
            missing=tuple(one for one in summary.behind if one.state != "refused"),
            is_served=False,
        )
    applied = _at_least(summary.at, revision)
    starting = summary.at.get(NOTHING, 0)
    refused = sum(summary.refused.values()) - _at_least(summary.refused, revision)
    lost = sum(summary.lost.values()) - _at_least(summary.lost, revision) - summary.lost.get(NOTHING, 0)
    return Tally(
        applied=applied,
        waiting=sum(summary.at.values()) - applied - starting - refused - lost + summary.refused.get(NOTHING, 0),
        refused=refused,
        lost=lost,
        starting=starting - summary.refused.get(NOTHING, 0),
        polling=sum(summary.polling.values()),
        polling_applied=_at_least(summary.polling, revision),
        unnamed=summary.unnamed,
        missing=tuple(one for one in summary.behind if one.revision < revision and one.state != "starting"),
        propagation=next((one.propagation for one in summary.timed if one.revision == revision), Propagation()),
        is_served=summary.revision >= revision,
    )


def added(tallies: Iterable[Tally]) -> Tally:
    """Several nodes, as one."""
    all_ = list(tallies)
    return Tally(
        applied=sum(one.applied for one in all_),
        waiting=sum(one.waiting for one in all_),
        refused=sum(one.refused for one in all_),
        lost=sum(one.lost for one in all_),
        starting=sum(one.starting for one in all_),
        polling=sum(one.polling for one in all_),
        polling_applied=sum(one.polling_applied for one in all_),
        unnamed=sum(one.unnamed for one in all_),
        missing=tuple(client for one in all_ for client in one.missing),
        propagation=together(one.propagation for one in all_),
        is_served=all(one.is_served for one in all_),
    )


def _at_least(counts: Counts, revision: int) -> int:
    return sum(count for held, count in counts.items() if held >= revision)
