"""Requests of which there are thousands, answered by the connection that has read them: from what is in memory, without
a task and all that goes with it. What answers them does what the application would do, or leaves them to it.
"""

from typing import Protocol

from msgspec import Struct


class Answer(Struct, frozen=True):
    """What a connection answers by itself.

    Args:
        status: Its status.
        fields: Its headers as they are sent, each with the end of its line: those besides date and connection.
        body: As long as they say.
    """

    status: int
    fields: bytes = b""
    body: bytes = b""


class Shortcut(Protocol):
    """Answers requests of one kind from what is in memory, at once: what the application would answer, without a task
    and all that goes with it."""

    @property
    def method(self) -> bytes:
        """Of these requests."""

    @property
    def path(self) -> bytes:
        """Of these requests, which have no query."""

    @property
    def is_once(self) -> bool:
        """Whether clients connect for one of them only, so that no connection should be kept for the next one where
        there are many."""

    def answer(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer | None:
        """The answer to one, or ``None`` to leave it to the application."""
