"""Hints between the parts of the server, and between servers: something has happened, look it up in the
database.

A message never carries state, so losing one costs time (until somebody polls), never correctness.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

from msgspec import Struct


class RevisionHint(Struct, frozen=True, tag=True):
    """This environment has reached at least this revision."""

    project: str
    environment: str
    revision: int
    trace: str | None = None
    """The step of a trace that led to it, if there is one: a W3C ``traceparent``."""


class CredentialRevoked(Struct, frozen=True, tag=True):
    """This SDK key or admin token is no longer valid: streams that were opened with it must end."""

    credential_id: str


class EnvironmentRemoved(Struct, frozen=True, tag=True):
    """This environment no longer exists."""

    project: str
    environment: str


class MessagesLost(Struct, frozen=True, tag=True):
    """There may have been messages that nobody heard. Whoever lives by them should ask the database now."""


Message: TypeAlias = RevisionHint | CredentialRevoked | EnvironmentRemoved | MessagesLost


class Bus(Protocol):
    """Carries every message to everyone who is subscribed at that moment, in order, without keeping it."""

    @property
    def hears_all(self) -> bool:
        """Whether every change, by whichever server, is told of at once. Where not, the database must be asked."""

    async def publish(self, message: Message) -> None:
        """Hand the message to all subscribers. Returns without waiting for them, and never fails."""

    async def publish_here(self, message: Message) -> None:
        """The same, for subscribers in this server only: it is nothing that others do not find by themselves."""

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Messages published from entering the context on. The iterator ends when the bus is closed."""

    async def close(self) -> None:
        """End all subscriptions; messages published afterwards reach nobody."""
