"""Which pages may ask: browsers let a page read an answer from another origin only if the answer says so.

Only on the paths that browsers have use for, those that take client keys. The framework's own would be for all of
them. No cookies are ever used here, so ``Access-Control-Allow-Credentials`` is never sent, and whoever has no key gets
nothing from any origin. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Awaitable, Collection
from typing import Final, TypeAlias, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from fader_server.settings import ANY_ORIGIN

OPEN_TO_PAGES: Final = ("/ofrep/", "/api/frontend", "/api/proxy")
"""What the paths begin with."""

_Headers: TypeAlias = list[tuple[bytes, bytes]]

_METHODS: Final = b"GET, HEAD, POST, OPTIONS"
_EXPOSED: Final = (b"access-control-expose-headers", b"ETag, Retry-After")
_VARY: Final = (b"vary", b"Origin")
_VARY_OF_PREFLIGHT: Final = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
_FOR_SECONDS: Final = (b"access-control-max-age", b"7200")  # Chromium keeps it for no longer
_FIELD_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class Cors:
    """ASGI middleware, around all that may refuse a request: a page is to read refusals as well.

    Args:
        app: What is called for everything but preflights.
        origins: Of pages that may ask; ``*`` among them lets all.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self._app = app
        self._allows_any = ANY_ORIGIN in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request. (Of one that is none of a page's, which may last for days, nothing is kept here.)"""
        if str(scope["type"]) != "http" or not scope["path"].startswith(OPEN_TO_PAGES):
            return self._app(scope, receive, send)
        allowed = self._allowed(_header(scope, b"origin"))
        if cast("HTTPScope", scope)["method"] == "OPTIONS":
            return _answer_preflight(scope, send, allowed)
        return self._app(scope, receive, _saying([*allowed, _VARY], send))

    def _allowed(self, origin: bytes) -> _Headers:
        if self._allows_any:
            # The same for all, so that a shared cache may keep it, whoever asked first.
            return [(b"access-control-allow-origin", b"*"), _EXPOSED]
        return [(b"access-control-allow-origin", origin), _EXPOSED] if origin in self._origins else []


async def _answer_preflight(scope: Scope, send: Send, allowed: _Headers) -> None:
    """Say what a page may send. No key comes with the question, and none is needed for the answer, so it counts for no
    limit, and costs next to nothing."""
    headers = [(b"allow", _METHODS), _VARY_OF_PREFLIGHT]
    if allowed:
        headers += [*allowed, (b"access-control-allow-methods", _METHODS), _FOR_SECONDS]
        wanted = _header(scope, b"access-control-request-headers")
        # SDKs send headers of their own, and others with each version: whatever they ask for.
        if _FIELD_NAMES.fullmatch(wanted):
            headers.append((b"access-control-allow-headers", wanted))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _saying(headers: _Headers, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_headers


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")
