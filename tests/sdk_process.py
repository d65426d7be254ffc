"""An SDK process as servers see it: a stream, and a few words now and then."""

import json
import uuid
from typing import Any

import urllib3

from processes import PATIENCE, ServerProcess
from raw_stream import RawStream


def post(server: ServerProcess, what: str, body: Any, key: str, **headers: str) -> urllib3.BaseHTTPResponse:
    """``POST /sdk/v1/ack`` or ``goodbye``; the body as JSON, or as the bytes that it is."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    return urllib3.request(
        "POST", f"{server.url}/sdk/v1/{what}", body=raw, headers=sent, retries=False, timeout=PATIENCE
    )


class SdkProcess:
    """Has a stream until it is closed.

    Args:
        server: Where the stream is.
        key: Its SDK key.
        name: Of the process; something is added that no other has.
        headers: More of what it says of itself.
    """

    def __init__(self, server: ServerProcess, key: str, name: str, **headers: str) -> None:
        self._key = key
        self.name = f"{name}-{uuid.uuid4().hex[:8]}"
        self._identity = {
            "Fader-Instance": self.name,
            "Fader-App": "shop",
            "Fader-Host": "web-1",
            "User-Agent": "fader-python/1.2.3 (test)",
            **headers,
        }
        self.epoch, self.revision, self.node = "", -1, ""
        self.server, self.stream = server, self._opened(server)
        _, self.first = self.stream.event()
        self.epoch, self.revision = self.first["epoch"], self.first["revision"]
        self._heard = self.revision

    def _opened(self, server: ServerProcess) -> RawStream:
        headers = dict(self._identity)
        if self.node:
            headers |= {"Fader-Node": self.node, "Last-Event-ID": f"{self.epoch}-{self.revision}"}
        stream = RawStream(server, key=self._key, headers=headers)
        assert stream.status == 200
        self.node = stream.headers["fader-node"]
        return stream

    def moves(self, server: ServerProcess, *, is_noticed: bool = True) -> None:
        """Open a stream at another node, or at the same, with what it has.

        Args:
            server: The node.
            is_noticed: Whether the node before can notice; else whoever has the stream before must close it.
        """
        if is_noticed:
            self.stream.close()
        self.server, self.stream, self._heard = server, self._opened(server), self.revision

    def says(self, revision: int, to: ServerProcess | None = None, **more: Any) -> None:
        """Acknowledge what has come on the stream, or with ``applied=False`` refuse it."""
        if revision > self._heard:
            self._heard = self.stream.follow(revision)[-1][1]["revision"]
        body = {"instance": self.name, "epoch": self.epoch, "revision": revision, "node": self.node, **more}
        answer = post(to or self.server, "ack", body, self._key)
        assert answer.status == 204, answer.data
        if body.get("applied", True):
            self.revision = revision

    def leaves(self, to: ServerProcess | None = None) -> None:
        """End in order."""
        self.stream.close()
        answer = post(to or self.server, "goodbye", {"instance": self.name, "node": self.node}, self._key)
        assert answer.status == 204, answer.data
