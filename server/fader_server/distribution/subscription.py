"""One open stream, seen from the side that fills it."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeAlias

from fader_server.distribution.events import Message, Version

Send: TypeAlias = Callable[[Any], Awaitable[None]]
"""ASGI's: hands a message to the connection, and waits while its client does not read."""


class Ending(Enum):
    """Why a stream ended."""

    LEFT = "the client left"
    TOO_SLOW = "the client read too slowly"
    GOODBYE = "the server said goodbye"
    REVOKED = "its key is no longer valid"


class Subscription:
    """What one client has been sent, and how to send it more. It holds nothing of what is still to be sent: what that
    is follows from ``version``.

    Args:
        key_id: The SDK key with which the stream was opened.
        send: Sends to the client. At any moment only one task does: who opens the stream, then the fan-out.
        first: What to send first, by who opens the stream; nothing if the client is up to date.
        version: What that brings the client to.
    """

    __slots__ = ("ending", "farewell", "first", "is_parked", "key_id", "send", "version")

    def __init__(self, key_id: str, send: Send, first: bytes, version: Version) -> None:
        self.key_id = key_id
        self.send = send
        self.first = first
        self.version = version
        self.is_parked = False
        """Whether more is waiting to be read by the client than its connection holds."""
        self.ending: Ending | None = None
        self.farewell: Message | None = None
        """The last message, once it is clear that there will be one."""
