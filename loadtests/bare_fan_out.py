"""The least that a Python server can do to tell ten thousand streams of a change: ``python -m loadtests.bare_fan_out``.

A bare ASGI application on uvicorn, uvloop and httptools, configured as Fader configures them. It has no flags, no keys
and no limits. Events are sent by stepping each connection's ``send()`` by hand, with one message for all, in batches,
so that other requests get their turn; that was the fastest of all ways that were tried. Whatever a server does beyond
this is what it costs.

``POST /broadcast?SIZE`` sends an event of so many bytes, and answers with the moment at which that began. The program
prints its port, and ends with its standard input.
"""

import asyncio
import contextlib
import gc
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvicorn

_BATCH: Final = 128
_BACKLOG: Final = 4_096
_COLLECT: Final = (20_000, 20, 20)  # as Fader sets the collector

Send = Callable[[dict[str, Any]], Awaitable[None]]


class BareFanOut:
    """The application."""

    def __init__(self) -> None:
        self._streams: set[Send] = set()
        self._revision = 1

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        if scope["path"] == "/sdk/v1/stream":
            await self._stream(receive, send)
        elif scope["path"] == "/broadcast":
            await _answer(send, json.dumps(await self._broadcast(int(scope["query_string"]))).encode())
        else:
            await _answer(send, b"{}")

    async def _stream(self, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send(_message(b"snapshot", {"epoch": "bare", "revision": self._revision}))
        self._streams.add(send)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._streams.discard(send)

    async def _broadcast(self, size: int) -> dict[str, int]:
        self._revision += 1
        data = {"epoch": "bare", "revision": self._revision, "since": self._revision - 1, "padding": ""}
        data["padding"] = "x" * max(0, size - len(_message(b"change", data)["body"]))
        message, streams = _message(b"change", data), list(self._streams)
        began = time.monotonic_ns()
        for begin in range(0, len(streams), _BATCH):
            for send in streams[begin : begin + _BATCH]:
                if not _step(send, message):
                    self._streams.discard(send)
            await asyncio.sleep(0)
        return {"revision": self._revision, "began": began, "streams": len(streams)}


def _step(send: Send, message: dict[str, Any]) -> bool:
    """Run a ``send()`` that does not have to wait; whether it did not."""
    sending: Any = send(message)
    try:
        sending.send(None)
    except StopIteration:
        return True
    sending.close()  # the client does not read
    return False


def _message(name: bytes, data: dict[str, Any]) -> dict[str, Any]:
    identity = b"%s-%d" % (data["epoch"].encode(), data["revision"])
    encoded = json.dumps(data, separators=(",", ":")).encode()
    body = b"id: %s\nevent: %s\ndata: %s\n\n" % (identity, name, encoded)
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Serve until the standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(_BACKLOG)
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    config = uvicorn.Config(
        BareFanOut(), http="httptools", loop="uvloop", ws="none", backlog=_BACKLOG, log_config=None, access_log=False,
        server_header=False, lifespan="off",
    )  # fmt: skip
    _Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
