"""A flag that is switched on and off, and what the server says of it."""

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import ServerProcess

KEY: Final = "toggled"

UNHURRIED: Final = {"FADER_SNAPSHOT_BYTES_PER_SECOND": "1000000000000"}
"""For servers whose streams may come as fast as they can: how they are admitted is measured by ``reconnect_storm``."""

RULES: Final = (
    {
        "constraints": [{"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]}],
        "rollout": {"percentage": 25},
    },
)
"""With these the event of a change has about 300 bytes."""

_ACKNOWLEDGEMENTS: Final = "/projects/default/environments/production/acknowledgements"


class Asked(msgspec.Struct, frozen=True):
    """A change that was asked for; moments are nanoseconds of the clock that all processes share.

    Args:
        revision: Which it became.
        sent: When it was asked for.
        answered: When the answer came.
        began: When the server says that it began; 0 while that is not known.
    """

    revision: int
    sent: int
    answered: int
    began: int = 0


class Toggled:
    """The flag, and the server on which it is changed.

    Args:
        server: A running one, on which there is no such flag yet.
        rules: Of the flag in production, where it is off at first.
    """

    def __init__(self, server: ServerProcess, rules: Sequence[dict[str, Any]] = ()) -> None:
        self._admin = server.admin
        self.is_on = False
        self._admin.create_flag(KEY, description="Switched on and off")
        path = f"/projects/default/flags/{KEY}/environments/production"
        self._admin.ok("PUT", path, {"enabled": False, "rules": list(rules)})

    def change(self) -> Asked:
        """Switch it."""
        sent = time.monotonic_ns()
        revision = self._admin.verb(KEY, "off" if self.is_on else "on")["revision"]
        self.is_on = not self.is_on
        return Asked(revision, sent, time.monotonic_ns())

    def began(self, asked: Asked) -> int:
        """The time of the change in the history: of its transaction, before the commit."""
        newest = self._admin.ok("GET", "/projects/default/changes?limit=1")["items"][0]
        assert newest["revision"] == asked.revision, newest
        return time.monotonic_ns() - round((time.time() - datetime.fromisoformat(newest["at"]).timestamp()) * 1e9)

    def acknowledgements(self, revision: int) -> dict[str, Any]:
        """How far a revision has come, by those who acknowledge."""
        found: dict[str, Any] = self._admin.ok("GET", f"{_ACKNOWLEDGEMENTS}?revision={revision}")
        return found

    def acknowledged(self, revision: int, patience: float) -> dict[str, Any]:
        """Ask until all who are waited for have acknowledged it."""
        deadline = time.monotonic() + patience
        while not (found := self.acknowledgements(revision))["complete"]:
            if time.monotonic() > deadline:
                raise SystemExit(f"revision {revision:,} was not acknowledged by all: {found}")
            time.sleep(0.01)
        return found
