"""What is said on a bus: each message is a small frozen struct that derives from :class:`BusMessage`."""

from collections.abc import Hashable
from typing import Any

from msgspec import Struct


class BusMessage(Struct, frozen=True):
    """What every message can say of itself, so that whoever reads slowly need not read everything."""

    @property
    def subject(self) -> Hashable | None:
        """What it is about. Of its unread messages of this kind about one thing, a subscriber gets one. ``None`` if
        each is to be read."""
        return None

    def supersedes(self, unread: Any) -> bool:
        """Whether it takes the place of an unread message of its kind with the same subject. Else it is dropped: that
        one says all of it."""
        del unread
        return True


class MessagesLost(BusMessage, frozen=True, tag=True):
    """There may have been messages that nobody heard. Whoever lives by them should ask the database now."""

    @property
    def subject(self) -> Hashable:
        return ()


class RevisionHint(BusMessage, frozen=True, tag=True):
    """This environment has reached at least this revision."""

    project: str
    environment: str
    revision: int
    trace: str | None = None
    """The step of a trace that led to it, if there is one: a W3C ``traceparent``."""

    @property
    def subject(self) -> Hashable:
        return self.project, self.environment

    def supersedes(self, unread: "RevisionHint") -> bool:
        """Revisions only grow: a hint that comes late says nothing."""
        return unread.revision <= self.revision


class CredentialRevoked(BusMessage, frozen=True, tag=True):
    """This SDK key or admin token is no longer valid: streams that were opened with it must end."""

    credential_id: str

    @property
    def subject(self) -> Hashable:
        return self.credential_id


class EnvironmentRemoved(BusMessage, frozen=True, tag=True):
    """This environment no longer exists."""

    project: str
    environment: str

    @property
    def subject(self) -> Hashable:
        return self.project, self.environment
