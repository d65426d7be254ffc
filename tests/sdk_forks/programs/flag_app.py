"""One web application as WSGI and as ASGI: answers which process it is and what it sees, then waits to be let go.

The path of a request is that of a pipe. It is read from after the answer's one line, which ends when nobody holds the
other end any longer.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from fader import flags

flags.is_enabled("toggled")
flags.wait_until_ready(timeout=20)


def answer() -> bytes:
    return json.dumps({"pid": os.getpid(), "enabled": flags.is_enabled("toggled", "user-1")}).encode() + b"\n"


def be_held(gate: str) -> None:
    """Wait by the operating system's own means, which leaves nothing to greenlets and to loops either."""
    descriptor = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.set_blocking(descriptor, True)
        os.read(descriptor, 1)
    finally:
        os.close(descriptor)


def wsgi(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    yield answer()
    be_held(environ["PATH_INFO"])


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer(), "more_body": True})
    be_held(scope["path"])
    await send({"type": "http.response.body", "body": b""})


application = wsgi
