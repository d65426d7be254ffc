"""An Unleash server for clients to be tried with: it gives each key the state that a test has put there, unchanged."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from processes import PATIENCE


class ScriptedUnleash:
    """What it gives, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.states: dict[str, Any] = {}
        """By key: what ``GET /api/client/features`` answers."""
        self.toggles: dict[str, Any] = {}
        """By key: what ``GET /api/frontend`` answers."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of each, oldest first."""
        self.closing = threading.Event()


def as_events(state: Any) -> Any:
    """A state as the first event of a stream."""
    if "events" in state:
        return state
    hydration = {"type": "hydration", "eventId": 1, "segments": [], **state}
    del hydration["version"]
    return {"events": [hydration]}


@contextmanager
def scripted_unleash() -> Iterator[ScriptedUnleash]:
    """Such a server for the time of a ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, key = urlsplit(self.path).path, self.headers.get("Authorization", "")
            server.requests.append(("GET", path))
            if path == "/api/client/streaming" and key in server.states:
                self._stream(as_events(server.states[key]))
            elif path == "/api/client/features" and key in server.states:
                self._answer(200, server.states[key])
            elif path == "/api/frontend" and key in server.toggles:
                self._answer(200, server.toggles[key])
            else:
                self._answer(401, {"message": "no such key"})

        def do_POST(self) -> None:
            server.requests.append(("POST", self.path))
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(202, None)

        def _answer(self, status: int, document: Any) -> None:
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, first: Any) -> None:
            event = f"event: unleash-connected\nid: 1\ndata: {json.dumps(first)}\n\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")  # some clients see nothing of any other before its end
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            server.closing.wait(PATIENCE)
            self.close_connection = True

        def log_request(self, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server = ScriptedUnleash(f"http://127.0.0.1:{http.server_address[1]}")
        serving = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield server
        finally:
            server.closing.set()
            http.shutdown()
            serving.join(PATIENCE)
