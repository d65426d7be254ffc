"""A worker's end of what ties it to its parent, and through it to the other workers of its node."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fader_server.logs import logger
from fader_server.workers.frames import HELD_BYTES, Conversation, Frame, Lost, Peers, Said, Serving, encoded

_log = logger(__name__)


class Link:
    """What a worker says to the others, by channels, and what they say to it.

    Args:
        worker: The number of this one, from 1.
        workers: How many there are meant to be.
        ours: The worker's end of a pair of sockets, of which its parent has the other.
        held: bytes that may wait for the parent to read.
    """

    def __init__(self, worker: int, workers: int, ours: socket.socket, *, held: int = HELD_BYTES) -> None:
        self.worker = worker
        self.workers = workers
        self.peers: frozenset[int] = frozenset()
        """The numbers of the other workers that serve at the moment."""
        self._socket = ours
        self._conversation = Conversation(self._heard, self._ended, held=held)
        self._listeners: dict[str, tuple[Callable[[bytes], None], Callable[[], None]]] = {}

    @property
    def is_connected(self) -> bool:
        """Whether everything that the others say is heard."""
        return self._conversation.is_open

    def listen(self, channel: str, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        """Hear a channel from now on.

        Args:
            channel: Its name; each has one listener.
            heard: called with everything that another worker says there, in order.
            lost: called when something may not have come through.
        """
        self._listeners[channel] = heard, lost

    def say(self, channel: str, body: bytes, *, to: int | None = None) -> None:
        """Say something to all other workers, or to one of them. Never waits, and never fails."""
        self._conversation.send(encoded(Said(channel, body, to)))

    def serving(self) -> None:
        """Tell the parent that this worker listens now."""
        self._conversation.send(encoded(Serving()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Stay connected for as long as the context is open."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._conversation, sock=self._socket)
        try:
            yield
        finally:
            self._conversation.close()

    def _heard(self, frame: Frame) -> None:
        match frame:
            case Said(channel, body):
                if channel in self._listeners:
                    heard, _ = self._listeners[channel]
                    heard(body)
            case Lost():
                self._lost()
            case Peers(numbers):
                self.peers = numbers
            case Serving():  # which only workers say
                pass

    def _lost(self) -> None:
        for _, lost in self._listeners.values():
            lost()

    def _ended(self) -> None:
        self.peers = frozenset()
        self._lost()
