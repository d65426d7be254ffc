"""A receiver of requests that tests own: it keeps what comes, and answers as it is told."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Answering(NamedTuple):
    """What it is answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Receiver:
    """What has come so far. ``answers`` may be replaced at any time."""

    def __init__(self, url: str, answers: Callable[[Received], Answering]) -> None:
        self.url = url
        self.answers = answers
        self.received: list[Received] = []


@contextmanager
def http_receiver(answers: Callable[[Received], Answering] = lambda _: Answering()) -> Iterator[Receiver]:
    """A receiver for the time of a ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(self.path, self.headers, body)
            receiver.received.append(request)
            answer = receiver.answers(request)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_request(self, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}", answers)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            serving.join()
