"""What the parts of the server tell each other, and servers each other: something has happened.

There is a bus for each family of messages. The first and most important one carries hints (:data:`Message`): look it up
in the database. A hint never carries state, so losing one costs time (until somebody polls), never correctness.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeVar

from fader_server.bus.messages import BusMessage, CredentialRevoked, EnvironmentRemoved, MessagesLost, RevisionHint

__all__ = [
    "Bus",
    "BusMessage",
    "CredentialRevoked",
    "EnvironmentRemoved",
    "Message",
    "MessageT",
    "MessagesLost",
    "RevisionHint",
]

Message: TypeAlias = RevisionHint | CredentialRevoked | EnvironmentRemoved | MessagesLost
"""A hint."""

MessageT = TypeVar("MessageT", bound=BusMessage)
"""The messages of one bus: a struct, or a union of structs that are tagged."""


class Bus(Protocol[MessageT]):
    """Carries every message to everyone who is subscribed at that moment, in order, without keeping it.

    A subscriber that reads slowly misses nothing that it must know: of messages with one subject the newest waits for
    it, and where that is still too much, all that waits is replaced by :class:`MessagesLost`.
    """

    @property
    def hears_all(self) -> bool:
        """Whether every change, by whichever server, is told of at once. Where not, the database must be asked."""

    async def publish(self, message: MessageT) -> None:
        """Hand the message to all subscribers. Returns without waiting for them, and never fails."""

    async def publish_here(self, message: MessageT) -> None:
        """The same, for subscribers in this server only: it is nothing that others do not find by themselves."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[MessageT | MessagesLost]]:
        """Messages published from entering the context on. The iterator ends when the bus is closed."""

    async def close(self) -> None:
        """End all subscriptions; messages published afterwards reach nobody."""
