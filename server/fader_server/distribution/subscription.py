"""One open stream, seen from the side that fills it."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from fader_server.distribution.events import Version

MOST_UNREAD: Final = 1_000
"""Messages that may wait for one reader. Whoever falls behind further is cut off, and resumes by revision: nobody
else waits, and no stuck reader holds memory without end."""

MOST_UNREAD_BYTES: Final = 4 * 1024 * 1024
"""The same in bytes. A single message may be larger."""


class Ending(Enum):
    """Why a stream ended."""

    LEFT = "the client left"
    TOO_SLOW = "the client read too slowly"
    GOODBYE = "the server said goodbye"
    REVOKED = "its key is no longer valid"


class Subscription:
    """What is on its way to one client. Filled and read on one event loop.

    Args:
        key_id: The SDK key with which the stream was opened.
        first: What to send first.
        version: What that brings the client to.
        abort: Cuts the client's connection, and frees what waits there.
    """

    __slots__ = ("_abort", "_awake", "_unread", "_unread_bytes", "ending", "key_id", "version")

    def __init__(self, key_id: str, first: bytes, version: Version, abort: Callable[[], None]) -> None:
        self.key_id = key_id
        self.version = version
        self.ending: Ending | None = None
        self._abort = abort
        self._unread: deque[bytes] = deque([first])
        self._unread_bytes = len(first)
        self._awake = asyncio.Event()
        self._awake.set()

    def put(self, message: bytes) -> None:
        """Send a message after those that wait already, once the reader is woken."""
        if self.ending is not None:
            return
        if self._unread and (len(self._unread) >= MOST_UNREAD or self._unread_bytes + len(message) > MOST_UNREAD_BYTES):
            self._unread.clear()
            self.end(Ending.TOO_SLOW)
            # Its task waits for the client to read, which it may never do.
            self._abort()
            return
        self._unread.append(message)
        self._unread_bytes += len(message)

    def wake(self) -> None:
        """Let the reader read what waits."""
        self._awake.set()

    def end(self, ending: Ending) -> None:
        """End the stream, after what waits has been read."""
        if self.ending is None:
            self.ending = ending
        self._awake.set()

    async def read(self) -> bytes | None:
        """All that waits, as soon as there is something; ``None`` when the stream has ended."""
        while True:
            await self._awake.wait()
            if self.ending is None:
                self._awake.clear()
            if self._unread:
                messages = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
                self._unread.clear()
                self._unread_bytes = 0
                return messages
            if self.ending is not None:
                return None
            # It was woken for something that it had read already.
