"""Around every request: an id to find it by in the log, one line when it is done, and its place in the metrics."""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from fader_server.api.cut_short import cut_short
from fader_server.api.shown import shown
from fader_server.logs import logger
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import Door

_log = logger("fader_server.requests")
_routine = logging.getLogger("fader_server.requests")
"""Asked whether a line is wanted at all: cheaper than writing one that is thrown away."""

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADER: Final = b"x-request-id"
_PROCESS: Final = secrets.token_hex(6)
_numbers: Final = itertools.count(1)
_PROBES: Final = ("/health/", "/metrics")
_FOREIGN: Final = (
    *("/api/client/features", "/api/client/delta", "/api/client/metrics"),
    *("/api/frontend", "/api/proxy"),
    "/ofrep/v1/evaluate/",
)
_ROUTINE: Final = (*_PROBES, "/sdk/v1/snapshot", "/sdk/v1/usage", "/sdk/v1/ack", *_FOREIGN)
"""They come every few seconds, from each process that watches or polls. While all is well their lines tell nothing, and
are written at the level debug."""

_DOORS: Final[tuple[tuple[Door, str], ...]] = (
    ("sdk", "/sdk/"),
    ("sdk", "/api/client"),
    ("ofrep", "/ofrep/"),
    ("frontend", "/api/frontend"),
    ("frontend", "/api/proxy"),
    ("metrics", "/metrics"),
)


class RequestLog:
    """ASGI middleware, outside of everything else.

    A request id that comes with the request is kept if it is well-formed, so that one id holds from a load
    balancer to the log; else one is drawn. It is in ``scope["state"]`` for problems to quote, and in the
    answer's header.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if str(scope["type"]) != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(dict(scope["headers"]))
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status = 0
        is_counted = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_counted
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode())]
                if is_stream(message):
                    _write("stream opened", scope, status, request_id, began)
                    self._count(scope, status, began)
                    is_counted = True
            await send(message)

        # Each request runs in a context of its own, so there is nothing to unbind.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            await cut_short(scope, send_with_id, is_begun=status != 0)
        finally:
            _write("request", scope, status, request_id, began)
            if not is_counted:
                self._count(scope, status, began)

    def _count(self, scope: Scope, status: int, began: float) -> None:
        # The template is there once the router has found it, and never for paths that lead nowhere.
        route = scope.get("path_template", "")
        method = cast("HTTPScope", scope)["method"]
        self._metrics.request_answered(method, route, status, time.perf_counter() - began)
        rejection = scope["state"].get("rejection")
        if rejection is not None:
            self._metrics.credential_rejected(_door(route), rejection)


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The id that came with a request, or a new one."""
    given = headers.get(_HEADER)
    if given is not None and _ID.fullmatch(given):
        return given.decode()
    # Drawn once, and counted from there: random numbers for each would cost more than all else that is done here.
    return f"{_PROCESS}{next(_numbers):08x}"


def _door(route: str) -> Door:
    for door, prefix in _DOORS:
        if route.startswith(prefix):
            return door
    return "admin"


def is_probe(scope: Scope) -> bool:
    """Whether it is asked by a machine that watches, rather than by one that wants something."""
    return scope["path"].startswith(_PROBES)


def is_stream(message: Any) -> bool:
    """Whether the answer that begins with this message is a stream of events."""
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
    )


def _write(event: str, scope: Scope, status: int, request_id: str, began: float) -> None:
    is_routine = 200 <= status < 400 and scope["path"].startswith(_ROUTINE)
    if is_routine and not _routine.isEnabledFor(logging.DEBUG):
        return
    write = _log.debug if is_routine else _log.info
    # The path alone: queries may hold what is nobody's business.
    write(
        event,
        method=cast("HTTPScope", scope)["method"],
        path=shown(scope["path"]),
        status=status,
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
        request_id=request_id,
    )
