"""Asks Unleash's SDK for Node, which polls unless it is told otherwise, to open a stream instead.

It does so when an answer with flags has the header ``fetch-mode: streaming``; but then it throws these flags away,
keeps their tag, and takes what it needs from the stream. If no stream gets through to it, and it goes back to polling,
it would have nothing, and be told that nothing has changed. So it is asked only with what it has already; and not again
for a while, so that where no stream gets through it is a client that polls like any other.
"""

from collections.abc import Callable, Mapping
from typing import Final

_NODE: Final = b"unleash-node-sdk:"
_AGAIN_SECONDS: Final = 300.0
_REMEMBERED: Final = 50_000

FETCH_MODE: Final = (b"fetch-mode", b"streaming")


class Steering:
    """Remembers who was asked when.

    Args:
        is_wanted: Whether to ask at all.
        clock: Seconds that do not go back.
    """

    def __init__(self, is_wanted: bool, clock: Callable[[], float]) -> None:
        self._is_wanted = is_wanted
        self._clock = clock
        self._asked: dict[str, float] = {}

    def is_due(self, asked: Mapping[bytes, bytes], name: str) -> bool:
        """Whether a process is to be asked.

        Args:
            asked: The headers of its request.
            name: Its name, which no other has; empty if it does not say.
        """
        if not self._is_wanted or not name or not asked.get(b"unleash-sdk", b"").startswith(_NODE):
            return False
        last = self._asked.get(name)
        return last is None or self._clock() - last >= _AGAIN_SECONDS

    def note(self, name: str) -> None:
        """A process has been asked."""
        self._asked.pop(name, None)
        if len(self._asked) >= _REMEMBERED:
            del self._asked[next(iter(self._asked))]
        self._asked[name] = self._clock()
