"""Many things that must each be over within the same number of seconds: who is late?"""

from collections.abc import Iterator
from typing import Generic, TypeVar

ThingT = TypeVar("ThingT")


class Deadlines(Generic[ThingT]):
    """Begun in the order of time and all with the same patience, so they run out in the order in which they were begun:
    to begin, to end, and to look for those that are late costs next to nothing, however many there are. (A timer of
    the event loop for each request would cost more than all of its other bookkeeping.)

    Args:
        patience: Seconds that each may take.
    """

    __slots__ = ("_begun", "_patience")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._begun: dict[ThingT, float] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, thing: ThingT, now: float) -> None:
        """Its time runs from now on, unless it runs already."""
        self._begun.setdefault(thing, now)

    def end(self, thing: ThingT) -> None:
        """It is over, if it had begun."""
        self._begun.pop(thing, None)

    def late(self, now: float) -> Iterator[ThingT]:
        """Those whose time has run out; each is given out once, and forgotten."""
        while self._begun:
            thing = next(iter(self._begun))
            if now - self._begun[thing] < self._patience:
                return
            del self._begun[thing]
            yield thing
