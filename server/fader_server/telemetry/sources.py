"""What is not counted but asked for when somebody scrapes: it is kept elsewhere already, and cannot go stale here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fader_server.telemetry import catalogue


class FollowedEnvironment(Struct, frozen=True):
    """An environment as this node serves it."""

    project: str
    environment: str
    revision: int
    streams: int


class ConnectedClients(Struct, frozen=True):
    """SDK processes of one environment, as this node knows them, by state."""

    project: str
    environment: str
    states: dict[str, int]


class ConnectionPool(Struct, frozen=True):
    """Connections to the database."""

    in_use: int
    limit: int


@dataclass(frozen=True)
class Sources:
    """Functions that say how things are. They are called on the event loop, so they may read what it changes."""

    environments: Callable[[], Iterable[FollowedEnvironment]]
    clients: Callable[[], Iterable[ConnectedClients]]
    connections: Callable[[], ConnectionPool]
    hears_all: Callable[[], bool]
    """Whether every change, on whichever node, is told of at once."""


class SampledCollector(Collector):
    """Gives the registry what the sources have said."""

    def __init__(self) -> None:
        self.sources: Sources | None = None
        self._sampled: list[GaugeMetricFamily] = []

    def sample(self) -> None:
        """Ask the sources, if there are any yet."""
        if self.sources is None:
            return
        streams, revision, clients, in_use, limit, bus = families = [_family(definition) for definition in _SAMPLED]
        for followed in self.sources.environments():
            place = followed.project, followed.environment
            streams.add_metric(place, followed.streams)
            revision.add_metric(place, followed.revision)
        for connected in self.sources.clients():
            for state, count in connected.states.items():
                clients.add_metric((connected.project, connected.environment, state), count)
        pool = self.sources.connections()
        in_use.add_metric((), pool.in_use)
        limit.add_metric((), pool.limit)
        bus.add_metric((), self.sources.hears_all())
        self._sampled = families

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """What may come, so that the registry need not ask for it when the collector is registered."""
        return [_family(definition) for definition in _SAMPLED]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What was sampled last. On any thread."""
        return self._sampled


_SAMPLED = (
    catalogue.STREAMS_OPEN,
    catalogue.ENVIRONMENT_REVISION,
    catalogue.CLIENTS,
    catalogue.CONNECTIONS_IN_USE,
    catalogue.CONNECTIONS_LIMIT,
    catalogue.BUS_UP,
)


def _family(definition: catalogue.Definition) -> GaugeMetricFamily:
    return GaugeMetricFamily(definition.name, definition.meaning, labels=definition.labels)
