"""The bus within one server: all there is where it runs alone, and where what others say arrives where it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic

from fader_server.bus import MessagesLost, MessageT
from fader_server.bus.mailbox import UNREAD, Mailbox


class InProcessBus(Generic[MessageT]):
    """Implements :class:`fader_server.bus.Bus` within one event loop.

    Args:
        hears_all: false where other servers, of which it hears nothing, write to the same database.
        unread: how many messages may wait for one subscriber.
    """

    def __init__(self, *, hears_all: bool = True, unread: int = UNREAD) -> None:
        self._hears_all = hears_all
        self._limit = unread
        self._mailboxes: set[Mailbox[MessageT]] = set()
        self._closed = False

    @property
    def hears_all(self) -> bool:
        return self._hears_all

    async def publish(self, message: MessageT | MessagesLost) -> None:
        self.tell(message)

    async def publish_here(self, message: MessageT | MessagesLost) -> None:
        self.tell(message)

    def tell(self, message: MessageT | MessagesLost) -> None:
        """The same, for those who may not wait."""
        for mailbox in self._mailboxes:
            mailbox.put(message)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[MessageT | MessagesLost]]:
        mailbox: Mailbox[MessageT] = Mailbox(self._limit)
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
