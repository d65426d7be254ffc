"""Reports of outcomes, as an SDK would send them: of users who are made up."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from typing import Any

import msgspec
import urllib3

from fader.outcomes import Arm, OutcomeReport, Outcomes
from fader.sketches import Sketch
from processes import PATIENCE, ServerProcess, wait_for


class Reporter:
    """Reports to one server, in one environment.

    Args:
        server: Whom.
        environment: Of which.
        sdk_key: For another project than the default one.
    """

    def __init__(self, server: ServerProcess, environment: str = "production", sdk_key: str = "") -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {sdk_key or server.sdk_key(environment)}"}
        self._pool = urllib3.PoolManager(retries=False, timeout=PATIENCE)

    def snapshot(self) -> dict[str, Any]:
        """What SDKs are served."""
        answer = self._pool.request("GET", f"{self._server.url}/sdk/v1/snapshot", headers=self._headers)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    def guards(self, flag: str, step: int = 0) -> list[dict[str, Any]]:
        """The guards of a flag in a step (counted from 0), once SDKs know of them."""

        def found() -> list[dict[str, Any]]:
            known: list[dict[str, Any]] = self.snapshot().get("guards", {}).get(flag, [])
            return known if known and known[0]["id"].split(".")[1] == str(step) else []

        guards: list[dict[str, Any]] = wait_for(found, "SDKs to know of guards")
        return guards

    def send(self, guard: str, outcomes: Outcomes, report: str = "") -> urllib3.BaseHTTPResponse:
        """Send a report; of the same ``report`` id if it is to be the same."""
        body = OutcomeReport(
            id=report or secrets.token_hex(8), instance="reporter", app="tests", guards={guard: outcomes}
        )
        headers = self._headers | {"Content-Type": "application/json"}
        url = f"{self._server.url}/sdk/v1/outcomes"
        return self._pool.request("POST", url, body=msgspec.json.encode(body), headers=headers)

    def report(self, flag: str, treatment: tuple[int, int], control: tuple[int, int], step: int = 0) -> None:
        """Report, to all guards of a flag, users who came since a step began: how many, and how many of them failed."""
        for guard in self.guards(flag, step):
            outcomes = Outcomes(treatment=arm("with", *treatment), control=arm("without", *control))
            assert self.send(guard["id"], outcomes).status == 202

    def close(self) -> None:
        """Close its connections."""
        self._pool.clear()


def arm(name: str, exposed: int, failed: int) -> Arm:
    """So many users, of whom so many failed."""
    return Arm(
        exposed=sketch(f"{name}-{user}" for user in range(exposed)),
        failed=sketch(f"{name}-{user}" for user in range(failed)),
    )


def sketch(users: Iterable[str]) -> bytes:
    """A sketch of these users."""
    return Sketch(hashlib.blake2b(user.encode(), digest_size=8).digest() for user in users).encode()
