"""What this node knows of the others, by their own words; and of those that have fallen silent, by their last."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from msgspec import structs

from fader_server.clients.notes import NodeClients, Place
from fader_server.clients.roster import LOST_SECONDS
from fader_server.clients.tally import Summary, Tally, tally

_SILENT_SECONDS: Final = 3.5
"""After so long without a word, a node is taken for gone. Its clients are missed until they are heard elsewhere."""


class Heard(NamedTuple):
    """What other nodes add to how far a revision has come."""

    nodes: int
    tallies: list[Tally]
    notes: list[str]


class _Peer:
    """Another node."""

    def __init__(self) -> None:
        self.summaries: dict[Place, Summary] = {}
        self.heard = 0.0
        self.moved: dict[Place, set[str]] = defaultdict(set)
        """Who has come from there to another node since its last word."""


class Peers:
    """All others.

    Args:
        monotonic: Seconds that do not go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._peers: dict[str, _Peer] = {}

    @property
    def live(self) -> int:
        """How many are heard."""
        now = self._monotonic()
        return sum(now - peer.heard <= _SILENT_SECONDS for peer in self._peers.values())

    def hear(self, told: NodeClients) -> None:
        """A node says how its clients are."""
        peer = self._peers.setdefault(told.node, _Peer())
        peer.summaries = {placed.place: placed.summary for placed in told.summaries}
        peer.heard = self._monotonic()
        peer.moved.clear()

    def note_moved(self, place: Place, instances: Mapping[str, str]) -> None:
        """Clients have come to a node; each is given with the one that it was at before."""
        for instance, came_from in instances.items():
            peer = self._peers.get(came_from)
            if peer is not None:
                peer.moved[place].add(instance)

    def forget_old(self) -> None:
        """Give up those that have been silent for so long that their clients are, too."""
        now = self._monotonic()
        for name, peer in list(self._peers.items()):
            if now - peer.heard > LOST_SECONDS:
                del self._peers[name]

    def acknowledgements(self, place: Place, epoch: str, revision: int) -> Heard:
        """How far a revision has come there."""
        now = self._monotonic()
        heard = Heard(self.live, [], [])
        for name, peer in self._peers.items():
            summary = peer.summaries.get(place)
            if summary is None:
                continue
            silent = now - peer.heard
            told = tally(summary, epoch, revision)
            if silent <= _SILENT_SECONDS:
                heard.tallies.append(told)
                continue
            left = left_behind(told, peer.moved[place])
            heard.tallies.append(left)
            if left.lost:
                clients = f"{left.lost:,} client{'s' if left.lost > 1 else ''}"
                heard.notes.append(f"{clients} of node {name}, silent for {silent:.0f} s, not heard elsewhere")
        return heard


def left_behind(last: Tally, moved: set[str]) -> Tally:
    """What remains of the clients of a node that is gone: those who have not come to another one since.

    Args:
        last: What it said last.
        moved: Who has come to another node since then.
    """
    missing = tuple(structs.replace(client, state="lost") for client in last.missing if client.instance not in moved)
    named = len(last.missing) - len(missing)
    # Of those who have moved and are not known by name, as many as can be are taken for such as had the revision, or
    # had nothing at all: nobody is taken for found who may still be missing.
    unnamed = len(moved) - named
    beyond = max(last.waiting + last.refused + last.lost - len(last.missing), 0)
    lost = len(missing) + max(beyond - max(unnamed - last.applied - last.starting, 0), 0)
    return Tally(applied=max(last.applied - unnamed, 0), lost=lost, missing=missing)
