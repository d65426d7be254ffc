"""Clients as they come, go and acknowledge, as Server-Sent Events beside the changes that they acknowledge."""

from collections.abc import Iterator
from typing import Final

import msgspec

from fader_server.api.admin.client_views import client_view
from fader_server.clients.gathering import Gathering, Listed
from fader_server.clients.happenings import What
from fader_server.distribution import Distributor

TICK_SECONDS: Final = 0.2

_MOST: Final = 20
"""Clients that are told of one by one at a time; of more it is told how many they were."""


class ClientsEvent(msgspec.Struct, frozen=True):
    """The clients of an environment in numbers, and how far its newest revision has come among them."""

    project: str
    environment: str
    revision: int
    clients: int
    applied: int
    waiting: int
    refused: int
    lost: int
    starting: int
    polling: int


class ManyEvent(msgspec.Struct, frozen=True, tag_field="what", tag="many"):
    """More have come and gone at once than can be named."""

    project: str
    environment: str
    counts: dict[What, int]


class ClientsWatch:
    """What one reader has been told.

    Args:
        distributor: Whose environments.
        gathering: Who knows of their clients.
    """

    def __init__(self, distributor: Distributor, gathering: Gathering) -> None:
        self._distributor = distributor
        self._gathering = gathering
        self._told: dict[tuple[str, str], ClientsEvent] = {}
        self._counts: dict[tuple[str, str], dict[What, int]] = {}

    def news(self, project: str, environment: str) -> Iterator[bytes]:
        """Events of what is different in an environment since the last time; at first, how it is."""
        version = self._distributor.version(project, environment)
        if version is None:
            return  # no client has asked for it at this node yet
        place = project, environment
        yield from self._comings_and_goings(place)
        tally = self._gathering.acknowledgements(project, environment, version.epoch, version.revision).tally
        event = ClientsEvent(
            project=project,
            environment=environment,
            revision=version.revision,
            clients=tally.clients,
            applied=tally.applied,
            waiting=tally.waiting,
            refused=tally.refused,
            lost=tally.lost,
            starting=tally.starting,
            polling=tally.polling,
        )
        if self._told.get(place) != event:
            self._told[place] = event
            yield _event(b"clients", event)

    def _comings_and_goings(self, place: tuple[str, str]) -> Iterator[bytes]:
        happenings = self._gathering.happenings(*place)
        counts = happenings.counts
        before = self._counts.get(place, counts)
        self._counts[place] = counts
        more = {what: count - before[what] for what, count in counts.items() if count > before[what]}
        number = sum(more.values())
        if number > _MOST:
            yield _event(b"client", ManyEvent(*place, more))
            return
        for happening in happenings.newest(number):
            told = msgspec.to_builtins(client_view(Listed(happening.node, happening.client)))
            yield _event(b"client", {"what": happening.what, "project": place[0], "environment": place[1], **told})


def _event(name: bytes, document: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, msgspec.json.encode(document))
