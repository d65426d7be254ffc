"""Clients that have come and gone lately, for those who watch."""

from collections import Counter, deque
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from fader_server.clients.tally import Shown

What: TypeAlias = Literal["connected", "left", "lost", "refused"]

_REMEMBERED: Final = 100


class Happening(Struct, frozen=True):
    """One client has come, has said goodbye, is missed, or refuses what it was sent."""

    what: What
    node: str
    client: Shown


class Happenings:
    """The newest of one environment, at all nodes that are heard; of older ones, only how many there were."""

    def __init__(self) -> None:
        self._newest: deque[Happening] = deque(maxlen=_REMEMBERED)
        self._counts: Counter[What] = Counter()

    @property
    def counts(self) -> dict[What, int]:
        """How many of each kind there have been."""
        return {what: self._counts[what] for what in get_args(What)}

    def add(self, happening: Happening) -> None:
        """Something has happened."""
        self._newest.append(happening)
        self._counts[happening.what] += 1

    def newest(self, number: int) -> list[Happening]:
        """The last so many, oldest first; fewer if they are not remembered."""
        return list(self._newest)[-number:] if number else []
