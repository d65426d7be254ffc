"""The middle of a node: passes on what each worker says to the others. It keeps nothing, and waits for nobody."""

import asyncio
import socket
from collections.abc import Callable
from typing import assert_never

from fader_server.workers.frames import HELD_BYTES, Conversation, Frame, Lost, Peers, Said, Serving, encoded


class Hub:
    """The parent's end of all conversations.

    Args:
        serving: called with the number of a worker when it listens.
        held: bytes that may wait for one worker. One that does not read delays nobody: what would be more is lost,
            and it is told so.
    """

    def __init__(self, serving: Callable[[int], None], *, held: int = HELD_BYTES) -> None:
        self._serving = serving
        self._held = held
        self._workers: dict[int, Conversation] = {}
        self._peers: set[int] = set()

    async def admit(self, number: int, ours: socket.socket) -> None:
        """Begin to talk with a worker.

        Args:
            number: The worker's.
            ours: Our end of a pair of sockets, of which it has the other.
        """
        conversation = Conversation(lambda frame: self._heard(number, frame), held=self._held)
        self._workers[number] = conversation
        await asyncio.get_running_loop().create_unix_connection(lambda: conversation, sock=ours)

    def dismiss(self, number: int) -> None:
        """Hang up on a worker, which is gone."""
        conversation = self._workers.pop(number, None)
        if conversation is not None:
            conversation.close()
        if number in self._peers:
            self._peers.remove(number)
            self._tell_peers()

    def waiting(self, number: int) -> int:
        """Bytes that a worker has not taken yet."""
        return self._workers[number].waiting

    def _heard(self, number: int, frame: Frame) -> None:
        match frame:
            case Said(to=None) | Lost():
                data = encoded(frame)
                for other, conversation in self._workers.items():
                    if other != number:
                        conversation.send(data)
            case Said(to=other):
                if other in self._workers:
                    self._workers[other].send(encoded(frame))
            case Serving():
                self._peers.add(number)
                self._tell_peers()
                self._serving(number)
            case Peers():  # which only we say
                pass
            case _:
                assert_never(frame)

    def _tell_peers(self) -> None:
        for number, conversation in self._workers.items():
            conversation.send(encoded(Peers(frozenset(self._peers - {number}))))
