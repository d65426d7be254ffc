"""The bus within one server: all there is where it runs alone, and where what others say arrives where it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fader_server.bus import Message, RevisionHint


class Mailbox:
    """What one subscriber has not read yet.

    A newer hint for the same environment replaces an unread older one, so a slow subscriber holds at most one per
    environment: that bounds its memory without ever losing what it must know.
    """

    def __init__(self) -> None:
        self._unread: dict[object, Message] = {}
        self._filled = asyncio.Event()
        self._closed = False

    def put(self, message: Message) -> None:
        if isinstance(message, RevisionHint):
            subject: object = (message.project, message.environment)
            known = self._unread.get(subject)
            if isinstance(known, RevisionHint) and known.revision > message.revision:
                return
        else:
            subject = message
        self._unread[subject] = message
        self._filled.set()

    def close(self) -> None:
        self._closed = True
        self._filled.set()

    async def read(self) -> AsyncIterator[Message]:
        while True:
            await self._filled.wait()
            while self._unread:
                yield self._unread.pop(next(iter(self._unread)))
            if self._closed:
                return
            self._filled.clear()


class InProcessBus:
    """Implements :class:`fader_server.bus.Bus` within one event loop.

    Args:
        hears_all: false where other servers, of which it hears nothing, write to the same database.
    """

    def __init__(self, *, hears_all: bool = True) -> None:
        self._hears_all = hears_all
        self._mailboxes: set[Mailbox] = set()
        self._closed = False

    @property
    def hears_all(self) -> bool:
        return self._hears_all

    async def publish(self, message: Message) -> None:
        for mailbox in self._mailboxes:
            mailbox.put(message)

    async def publish_here(self, message: Message) -> None:
        await self.publish(message)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[Message]]:
        mailbox = Mailbox()
        if self._closed:
            mailbox.close()
        self._mailboxes.add(mailbox)
        try:
            yield mailbox.read()
        finally:
            self._mailboxes.discard(mailbox)

    async def close(self) -> None:
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.close()
        self._mailboxes.clear()
