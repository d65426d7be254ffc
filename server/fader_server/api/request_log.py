"""Around every request: an id to find it by in the log, and one line when it is done."""

import re
import secrets
import time
from typing import Any, Final, cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from fader_server.logs import logger

_log = logger("fader_server.requests")

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADER: Final = b"x-request-id"
_QUIET: Final = "/health/"
"""Probes come every few seconds and tell nothing; their lines are written at the level debug."""


class RequestLog:
    """ASGI middleware, outside of everything else.

    A request id that comes with the request is kept if it is well-formed, so that one id holds from a load
    balancer to the log; else one is drawn. It is in ``scope["state"]`` for problems to quote, and in the
    answer's header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if str(scope["type"]) != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id.encode())]
                if _is_stream(message):
                    _write("stream opened", scope, status, request_id, began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                _write("request", scope, status, request_id, began)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER and _ID.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


def _is_stream(message: Any) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
    )


def _write(event: str, scope: Scope, status: int, request_id: str, began: float) -> None:
    write = _log.debug if scope["path"].startswith(_QUIET) else _log.info
    # The path alone: queries may hold what is nobody's business.
    write(
        event,
        method=cast("HTTPScope", scope)["method"],
        path=scope["path"],
        status=status,
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
        request_id=request_id,
    )
