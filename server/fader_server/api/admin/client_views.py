"""The documents that tell of SDK processes."""

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from fader_server.clients.client import Transport
from fader_server.clients.gathering import Acknowledgements, Listed
from fader_server.clients.propagation import Propagation
from fader_server.clients.tally import Shown, State, Tally


class PropagationView(Struct, frozen=True):
    """How long a change took from the commit until clients had applied it, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class PollingView(Struct, frozen=True):
    """SDK processes that ask now and then, and the number of those that were given the revision."""

    clients: int
    up_to_date: int


class MissingClient(Struct, frozen=True):
    """A process that is not known to have applied the revision. ``revision`` is what it evaluates with, ``null`` if
    that is not known; ``silent_seconds``, since when it has said nothing."""

    app: str
    host: str
    instance: str
    state: Literal["waiting", "refused", "lost"]
    revision: int | None
    silent_seconds: float
    error: str


class AcknowledgementsView(Struct, frozen=True):
    """How far a revision has come: ``clients`` are all that are waited for, and each is ``applied``, ``waiting``,
    ``refused``, or ``lost``. Those that are ``starting`` have no flags yet, and those that poll say nothing; neither
    is waited for. ``counting_since`` is given by a server that stands alone: when it has become another time, the
    server has been started anew, and who was connected before may not be back yet."""

    project: str
    environment: str
    epoch: str
    revision: int
    clients: int
    applied: int
    waiting: int
    refused: int
    lost: int
    starting: int
    complete: bool
    polling: PollingView
    propagation: PropagationView | None
    missing: list[MissingClient]
    scope: Literal["all nodes", "this node"]
    nodes: int
    notes: tuple[str, ...]
    counting_since: datetime | None


class ClientView(Struct, frozen=True):
    """One SDK process. ``revision`` is what it evaluates with, ``null`` if it has nothing yet, or something of another
    epoch; of one that polls, what it was given last."""

    instance: str
    app: str
    host: str
    sdk: str
    sdk_version: str
    transport: Transport
    state: State
    revision: int | None
    since: datetime
    last_heard: datetime
    node: str
    error: str

    @property
    def position(self) -> str:
        """Its place in the list."""
        return "\0".join((self.app, self.host, self.instance))


_MOST_MISSING = 20


def acknowledgements_view(
    project: str, environment: str, epoch: str, revision: int, found: Acknowledgements, now: float
) -> AcknowledgementsView:
    """How far a revision has come; ``now`` in seconds since the epoch of Unix."""
    tally = found.tally
    return AcknowledgementsView(
        project=project,
        environment=environment,
        epoch=epoch,
        revision=revision,
        clients=tally.clients,
        applied=tally.applied,
        waiting=tally.waiting,
        refused=tally.refused,
        lost=tally.lost,
        starting=tally.starting,
        complete=tally.is_complete,
        polling=PollingView(tally.polling, tally.polling_applied),
        propagation=propagation_view(tally.propagation),
        missing=_missing(tally, now),
        scope="all nodes" if found.is_everything else "this node",
        nodes=found.nodes,
        notes=found.notes,
        counting_since=None if found.counting_since is None else datetime.fromtimestamp(found.counting_since, UTC),
    )


def propagation_view(propagation: Propagation) -> PropagationView | None:
    """The quantiles that people ask for; nothing if nobody was timed."""
    if not propagation.clients:
        return None
    p50, p99 = propagation.quantile(0.5), propagation.quantile(0.99)
    return PropagationView(round(p50, 1), round(p99, 1), round(propagation.max_ms, 1))


def client_view(listed: Listed) -> ClientView:
    """A process in the list of all."""
    client = listed.client
    return ClientView(
        instance=client.instance,
        app=client.app,
        host=client.host,
        sdk=client.sdk,
        sdk_version=client.sdk_version,
        transport=client.transport,
        state=client.state,
        revision=_known(client),
        since=datetime.fromtimestamp(client.since, UTC),
        last_heard=datetime.fromtimestamp(client.heard, UTC),
        node=listed.node,
        error=client.error,
    )


def _missing(tally: Tally, now: float) -> list[MissingClient]:
    order = {"refused": 0, "lost": 1}
    ordered = sorted(tally.missing, key=lambda client: (order.get(client.state, 2), client.heard))
    return [
        MissingClient(
            app=client.app,
            host=client.host,
            instance=client.instance,
            state=client.state if client.state in ("refused", "lost") else "waiting",
            revision=_known(client),
            silent_seconds=round(max(now - client.heard, 0.0), 1),
            error=client.error,
        )
        for client in ordered[:_MOST_MISSING]
    ]


def _known(client: Shown) -> int | None:
    return client.revision if client.revision >= 0 else None
