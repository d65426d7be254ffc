"""An SDK process as the server sees it: a stream under a name, and what it says of itself, when it is told to."""

import json
import uuid
from typing import Any

import urllib3

from processes import ServerProcess
from raw_stream import RawStream


class RawClient:
    """A client that has acknowledged what it was sent first.

    Args:
        server: Whose client.
        key: An SDK key; by default, that of production.
        app, host: What it says of itself.
        node: The node that it says it was at before.
    """

    def __init__(
        self, server: ServerProcess, key: str | None = None, *, app: str = "shop", host: str = "web-1", node: str = ""
    ) -> None:
        self._server, self._key = server, key or server.sdk_key()
        self.name = f"{host}:{uuid.uuid4().hex[:8]}"
        headers = {"Fader-Instance": self.name, "Fader-App": app, "Fader-Host": host}
        self.stream = RawStream(server, key=self._key, headers=headers | ({"Fader-Node": node} if node else {}))
        _, snapshot = self.stream.event()
        self.epoch, self.revision = snapshot["epoch"], snapshot["revision"]
        self.say(self.revision)

    def say(self, revision: int, **more: Any) -> None:
        """Acknowledge, or refuse."""
        self._post("ack", {"instance": self.name, "epoch": self.epoch, "revision": revision, **more})

    def follow(self, revision: int) -> None:
        """Wait for a revision, and acknowledge it."""
        self.stream.follow(revision)
        self.say(revision)

    def leave(self) -> None:
        """End in good order."""
        self.stream.close()
        self._post("goodbye", {"instance": self.name})

    def vanish(self) -> None:
        """End without a word."""
        self.stream.close()

    def _post(self, what: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        url = f"{self._server.url}/sdk/v1/{what}"
        answer = urllib3.request("POST", url, body=json.dumps(body), headers=headers, retries=False)
        assert answer.status == 204, answer.data
