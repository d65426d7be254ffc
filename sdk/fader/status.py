"""How a client is doing: for the application to ask, and for the operator to read in the log, one line a change."""

import logging
from enum import StrEnum
from typing import Final

from msgspec import Struct

logger = logging.getLogger("fader")


LOST: Final = "lost"
"""The kind of trouble that comes and goes with the network."""


_MOST_COMPLAINTS: Final = 50


class State(StrEnum):
    """How far the answers of a client can be trusted to be the present ones."""

    READY = "ready"
    """It follows the server: its answers are the present ones."""
    STALE = "stale"
    """It has flags, from the disk or from before the connection was lost, and answers from them."""
    OFFLINE = "offline"
    """It has no flags at all, so everything gives its default."""


class Status(Struct, frozen=True):
    """What ``Client.status`` tells.

    Attributes:
        state: How far the answers can be trusted to be the present ones.
        revision: The revision that is evaluated with, or ``None`` without flags.
        environment: The environment that the key belongs to, once known.
        transport: ``"stream"``, ``"poll"``, or ``None`` while not connected; ``"memory"`` in tests.
        last_error: The last thing that went wrong, for people; it stays when all is well again.
    """

    state: State
    revision: int | None = None
    environment: str | None = None
    transport: str | None = None
    last_error: str | None = None


class Journal:
    """Keeps what ``Status`` tells, and writes a line to the log when it differs from the last: never one per attempt.

    Args:
        subject: What the lines are about, the server's address.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._phase = ""
        self._faltered = False
        self._noted: set[str] = set()
        self._complaints: set[str] = set()
        self.transport: str | None = None
        """How flags are followed at present; ``None`` while they are not."""
        self.last_error: str | None = None

    def following(self, transport: str, revision: int | None) -> None:
        """Flags come in and are up to date."""
        self.transport = transport
        self._faltered = False
        if self._phase != transport:
            self._phase = transport
            logger.info("following %s by %s, at revision %s", self._subject, transport, revision)

    def ended(self) -> None:
        """A connection came to its end. Whether that is news depends on whether the next one stands."""
        self.transport = None

    def trouble(self, kind: str, detail: str) -> None:
        """Flags cannot be followed. ``kind`` decides whether that is news, ``detail`` is for people."""
        followed, self.transport = self.transport, None
        self.last_error = detail
        if kind == LOST and followed is not None and not self._faltered:
            # Load balancers cut idle streams all day. It is worth a line only if the next attempt fails as well.
            self._faltered = True
            return
        if self._phase != kind:
            self._phase = kind
            logger.warning(
                "cannot follow %s (%s); answering from what is known, and trying again", self._subject, detail
            )

    def note(self, kind: str, detail: str) -> None:
        """Something beside the flags went wrong. It is said again only after it was ``mended``."""
        self.last_error = detail
        if kind not in self._noted:
            self._noted.add(kind)
            logger.warning("%s", detail)

    def complain(self, cause: str, detail: str) -> None:
        """The application asked for something in vain. It is said once for each cause, up to a number of causes."""
        if cause in self._complaints or len(self._complaints) > _MOST_COMPLAINTS:
            return
        self._complaints.add(cause)
        if len(self._complaints) <= _MOST_COMPLAINTS:
            logger.warning("%s", detail)
        else:
            logger.warning("there are more flags that are asked for in vain; they are not logged")

    def mended(self, kind: str) -> None:
        """What was noted works."""
        self._noted.discard(kind)
