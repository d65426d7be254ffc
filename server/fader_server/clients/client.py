"""One connected SDK process."""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Transport: TypeAlias = Literal["stream", "poll"]

NOTHING: Final = -1
"""In place of a revision: the client holds none. It evaluates with defaults until it gets one."""
OTHER: Final = -2
"""In place of a revision: what the client holds is of another epoch."""


class Identity(Struct, frozen=True):
    """What a process says of itself.

    Args:
        instance: Its name, which no other has.
        app: The application's name.
        host: Where it runs.
        sdk: Its SDK.
        sdk_version: And which version.
    """

    instance: str
    app: str = ""
    host: str = ""
    sdk: str = ""
    sdk_version: str = ""


class Refusal(Struct, frozen=True):
    """A client could not make sense of what it was sent, and keeps what it has.

    Args:
        revision: What it was to become.
        error: Why not, in the client's words.
    """

    revision: int
    error: str


class Client:
    """What is known of it. Times are in seconds since the epoch.

    Args:
        identity: Who it is.
        transport: How it hears of changes.
        now: The present time.
        applied: The revision that it evaluates with, in the epoch that is being served; or ``NOTHING``, or ``OTHER``.
    """

    __slots__ = (
        "applied",
        "came_from",
        "heard",
        "identity",
        "is_missed",
        "lost",
        "opened",
        "refusal",
        "since",
        "streams",
        "timed_since",
        "transport",
    )

    def __init__(self, identity: Identity, transport: Transport, now: float, applied: int) -> None:
        self.identity = identity
        self.transport: Transport = transport
        self.applied = applied
        self.refusal: Refusal | None = None
        self.since = now
        self.timed_since = now
        """How long changes took to reach it is of interest from here on."""
        self.heard = now
        self.came_from = ""
        """The node of the stream before its newest one here."""
        self.opened = now
        """Since when it has that one."""
        self.streams = 0
        """More than one while a connection that broke has not been noticed, and the client has a new one already."""
        self.lost: float | None = None
        """Since when it has no stream, without having said goodbye."""
        self.is_missed = False
        """Whether that has been told."""
