"""One web application as WSGI and as ASGI: answers which process it is and what it sees."""

import json
import os
import time
from typing import Any

from fader import flags

flags.is_enabled("toggled")
flags.wait_until_ready(timeout=20)


def answer() -> bytes:
    # Busy for a moment, so that the next request goes to another worker.
    until = time.monotonic() + 0.01
    while time.monotonic() < until:
        pass
    return json.dumps({"pid": os.getpid(), "enabled": flags.is_enabled("toggled", "user-1")}).encode()


def wsgi(_: Any, start_response: Any) -> list[bytes]:
    body = answer()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = answer()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


application = wsgi
