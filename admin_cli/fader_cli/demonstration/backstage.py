"""Changing things in the demo, and waiting until its shop has heard."""

import time
from collections.abc import Mapping
from typing import Any, Final

from fader import Client
from fader_cli.api import Api
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode

PATIENCE: Final = 10.0
"""Seconds that anything of it may take."""

_IDLE: Final = 0.0005


class Backstage:
    """Does what the audience is told.

    Args:
        api: The demo's server.
        flags: The client of its shop.
        speed: 2 to be twice as fast.
    """

    def __init__(self, api: Api, flags: Client, speed: float) -> None:
        self.api = api
        self._flags = flags
        self._speed = speed

    def pause(self, seconds: float) -> None:
        """Let people look."""
        time.sleep(seconds / self._speed)

    def make(self, flag: str, description: str) -> None:
        """Make a flag, and let the shop hear of it."""
        made = self.api.post("/projects/default/flags", {"key": flag, "description": description})
        if not self._flags.wait_until_ready(PATIENCE):
            raise CliError("the shop cannot reach the demo's server", None, ExitCode.UNREACHABLE)
        self.follow(made["environments"]["production"]["revision"])

    def change(self, path: str, body: Mapping[str, Any]) -> float:
        """Change something; the milliseconds from the server's answer until the shop evaluates with it."""
        revision = self.api.post(path, dict(body))["revision"]
        answered = time.perf_counter()
        self.follow(revision)
        return (time.perf_counter() - answered) * 1000

    def acknowledged(self, revision: int) -> str:
        """Who has applied a revision, once all have."""
        path = f"/projects/default/environments/production/acknowledgements?revision={revision}"
        deadline = time.perf_counter() + PATIENCE
        while not (reached := self.api.get(path))["complete"] and time.perf_counter() < deadline:
            time.sleep(_IDLE * 100)
        return f"applied by {reached['applied']} of {reached['clients']} SDK processes"

    def follow(self, revision: int) -> None:
        """Wait until the shop evaluates with a revision."""
        deadline = time.perf_counter() + PATIENCE
        while (self._flags.revision or 0) < revision:
            if time.perf_counter() > deadline:
                raise CliError("the shop does not hear of the change", None, ExitCode.UNREACHABLE)
            time.sleep(_IDLE)
