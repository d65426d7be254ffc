"""How what is served is written on streams of one kind. SDKs of ours have one, each other protocol has its own. The
fan-out is the same for all of them: what is sent is encoded once, for all who need the same."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

from fader.model import Snapshot
from fader_server.distribution.events import Delivery, Version
from fader_server.distribution.recent import Recent


class Served(Protocol):
    """A feed, as encodings see it."""

    @property
    def version(self) -> Version:
        """What is being served."""

    @property
    def snapshot(self) -> Snapshot:
        """What is being served, whole."""

    @property
    def changed_at(self) -> datetime | None:
        """When the newest change was made, if there was one since this server follows the environment."""

    def after(self, since: Version) -> Sequence[Recent] | None:
        """The changes that lead from a version to what is being served, none for that itself; ``None`` if they are not
        remembered, and everything is needed."""


class Encoding(Protocol):
    """Writes the events of streams. What it returns is kept until there is something newer, so each is asked for once
    with each version, however many streams there are.

    One is made for each feed, so it may keep what it has made of an earlier version, to go on from there.
    """

    @property
    def heartbeat(self) -> bytes:
        """What shows that a quiet stream lives."""

    def beginning(self, since: Version | None) -> Delivery | None:
        """What a stream begins with.

        Args:
            since: What the client has; ``None`` for nothing. It may be of another epoch, or of the future.

        Returns:
            What leads from there to what is being served; ``None`` if nothing needs to be sent.
        """

    def way(self, since: Version) -> Delivery:
        """What leads a stream that follows from a version, which is not what is being served, to that."""

    def goodbye(self, retry_milliseconds: int) -> bytes:
        """The last that is said on a stream which ends from this side, and after how long to come again; nothing, if
        the protocol has no word for it."""


EncodingFactory: TypeAlias = Callable[[Served], Encoding]
"""Makes the encoding of a feed. Streams whose factories are equal have it in common, so it is a class, a function of a
module, or another object that is there once."""
