"""What is needed to answer SDKs while the database is away: a copy of each environment, kept outside of it.

A server that has run for a while answers from its own memory. The copy is for one that starts just then. It is never
more than a copy: whenever the database answers, the database is right.
"""

from typing import Protocol

from msgspec import Struct

from fader.model import Snapshot
from fader_server.storage.records import SdkKey


class EnvironmentCopy(Struct, frozen=True, kw_only=True):
    """One environment as SDKs need it.

    Args:
        snapshot: Its flags and segments.
        keys: The keys that let SDKs in, by digest. No secrets.
    """

    snapshot: Snapshot
    keys: dict[str, SdkKey]


class Standby(Protocol):
    """Keeps the newest copy of each environment that it was given."""

    async def save(self, copy: EnvironmentCopy) -> None:
        """Keep this copy, unless there is a newer one of the same epoch.

        Raises:
            Unavailable: if it cannot be kept at the moment.
        """

    async def load(self, project: str, environment: str) -> EnvironmentCopy | None:
        """The copy of an environment, if there is one.

        Raises:
            Unavailable: if that cannot be said at the moment.
        """
