"""What a reader of messages has not read yet."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Generic

from fader_server.bus import MessagesLost, MessageT

UNREAD: Final = 10_000
"""Messages that wait for one reader at most, of which those about one subject count as one."""


class Mailbox(Generic[MessageT]):
    """Holds messages for one reader, who may take its time: they never grow beyond a limit.

    Args:
        limit: how many may wait. When there is no room left, all of them are given up for one ``MessagesLost``: the
            reader must look everything up then, so they would tell it nothing new.
    """

    def __init__(self, limit: int = UNREAD) -> None:
        self._limit = limit
        self._unread: dict[object, MessageT | MessagesLost] = {}
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, message: MessageT | MessagesLost) -> None:
        """Leave a message. One that waits already with the same subject is replaced, at its place in the order, unless
        it says more."""
        subject = message.subject
        place: object = object() if subject is None else (type(message), subject)
        unread = self._unread.get(place)
        if unread is None:
            self._make_room()
        elif not message.supersedes(unread):
            return
        self._unread[place] = message
        self._filled.set()

    def _make_room(self) -> None:
        if len(self._unread) >= self._limit:
            self._unread.clear()
            self.put(MessagesLost())

    def close(self) -> None:
        """No message comes any more."""
        self._closed = True
        self._filled.set()

    async def read(self) -> AsyncIterator[MessageT | MessagesLost]:
        """Messages in the order of their coming, until the mailbox is closed and empty. For one reader."""
        while True:
            await self._filled.wait()
            while self._unread:
                yield self._unread.pop(next(iter(self._unread)))
            if self._closed:
                return
            self._filled.clear()
