"""What nodes tell each other of their clients, on a bus of its own: hints of changes never wait behind it.

All of it is repeated, or replaced by something newer, so that what is lost costs time and never a wrong answer: a
client of which nobody has heard counts as missing.
"""

from collections.abc import Hashable
from typing import TypeAlias

from msgspec import Struct

from fader_server.bus import BusMessage
from fader_server.clients.happenings import Happening
from fader_server.clients.tally import Acknowledged, Shown, Summary


class Place(Struct, frozen=True):
    """An environment."""

    project: str
    environment: str


class Placed(Struct, frozen=True):
    """A summary, and of which environment."""

    place: Place
    summary: Summary


class NodeClients(BusMessage, frozen=True, tag=True):
    """How a node's clients are: of all environments that it follows."""

    node: str
    summaries: tuple[Placed, ...]

    @property
    def subject(self) -> Hashable:
        return self.node


class ClientsMoved(BusMessage, frozen=True, tag=True):
    """These have come to a node. ``left`` says which node they had been at before, if they know."""

    node: str
    place: Place
    instances: dict[str, str]
    """Instance to the node that it was at before; empty if it does not say."""


class ClientsSaid(BusMessage, frozen=True, tag=True):
    """What clients have told a node that they are not connected to: a load balancer sends each request elsewhere."""

    place: Place
    acknowledged: tuple[Acknowledged, ...] = ()
    goodbyes: tuple[str, ...] = ()


class ClientsHappened(BusMessage, frozen=True, tag=True):
    """Clients of a node have come or gone, for those who watch."""

    place: Place
    happenings: tuple[Happening, ...]
    node: str


class ClientsWanted(BusMessage, frozen=True, tag=True):
    """A node asks all others for their clients, one by one."""

    request: str
    place: Place


class ClientsListed(BusMessage, frozen=True, tag=True):
    """The answer of one."""

    request: str
    node: str
    clients: tuple[Shown, ...]


ClientNote: TypeAlias = NodeClients | ClientsMoved | ClientsSaid | ClientsHappened | ClientsWanted | ClientsListed
