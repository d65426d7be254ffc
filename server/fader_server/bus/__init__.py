"""Hints between the parts of the server, and between servers: something has happened, look it up in the
database.

A message never carries state, so losing one costs time (until somebody polls), never correctness.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from msgspec import Struct


class RevisionHint(Struct, frozen=True):
    """This environment has reached at least this revision."""

    project: str
    environment: str
    revision: int


class KeyRevoked(Struct, frozen=True):
    """This SDK key is no longer valid: streams that were opened with it must end."""

    key_id: str


class EnvironmentRemoved(Struct, frozen=True):
    """This environment no longer exists."""

    project: str
    environment: str


Message: TypeAlias = RevisionHint | KeyRevoked | EnvironmentRemoved


class Bus(Protocol):
    """Carries every message to everyone who is subscribed at that moment, in order, without keeping it."""

    async def publish(self, message: Message) -> None:
        """Hand the message to all subscribers. Returns without waiting for them."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Messages published from entering the context on. The iterator ends when the bus is closed."""

    async def close(self) -> None:
        """End all subscriptions; messages published afterwards reach nobody."""
