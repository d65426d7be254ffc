"""The request that is made most, answered before anything else looks at it.

Ten thousand processes that poll, or that come back after an outage, ask for one thing: the snapshot, with a key that
was good a moment ago. Everything it takes is in memory, so it is answered here: same limits, same headers, same place
in the metrics as on the way through the framework, at half the price. Whatever is unusual about a request (a key not
seen lately, a database that is away, a limit that was met, a line that is wanted in the log) goes that way.
"""

import logging
import time
from collections.abc import Awaitable
from typing import Final, TypeAlias, cast

from litestar import Litestar
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from fader_server.api.request_limits import RequestLimits
from fader_server.api.request_log import request_id_of
from fader_server.api.sdk import SdkServices
from fader_server.api.sdk.snapshots import SNAPSHOT_HEADERS, holds, note_poll, takes_gzip

_PATH: Final = "/sdk/v1/snapshot"
_requests_log: Final = logging.getLogger("fader_server.requests")


_Answer: TypeAlias = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""


class SnapshotShortcut:
    """ASGI middleware, outside of everything else.

    Args:
        app: What is called for all other requests.
        litestar: Whose state has the services, once it has started.
        limits: What the requests are counted against.
    """

    def __init__(self, app: ASGIApp, litestar: Litestar, limits: RequestLimits) -> None:
        self._app = app
        self._litestar = litestar
        self._limits = limits

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request. (Of another one, which may be a stream and last for days, nothing is kept here.)"""
        return (self._serve if scope.get("path") == _PATH else self._app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        services: SdkServices = self._litestar.state.sdk
        answer = self._answer(cast("HTTPScope", scope), services)
        if answer is None:
            await self._app(scope, receive, send)
            return
        status, headers, body = answer
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        services.metrics.request_answered("GET", _PATH, status, time.perf_counter() - began)
        if body:
            services.metrics.snapshot_sent(len(body))

    def _answer(self, scope: HTTPScope, services: SdkServices) -> _Answer | None:
        """The answer, if it is all there."""
        given = cast("list[tuple[bytes, bytes]]", scope["headers"])
        asked = dict(given)
        if (
            scope["method"] != "GET"
            or len(asked) != len(given)
            or "is_surplus" in scope["state"]
            or _requests_log.isEnabledFor(logging.DEBUG)
        ):
            return None
        authorization = asked.get(b"authorization", b"")
        principal = services.access.recent_sdk_principal(authorization.decode("latin-1"))
        encoded = None if principal is None else services.distributor.encoded(principal.project, principal.environment)
        if principal is None or encoded is None or not self._limits.lets_sdk_in(authorization):
            return None
        headers = [(b"etag", encoded.etag), *SNAPSHOT_HEADERS, (b"x-request-id", request_id_of(asked).encode())]
        if holds(asked.get(b"if-none-match", b""), encoded.etag):
            note_poll(services, principal, asked, encoded)
            return 304, headers, b""
        body = encoded.plain
        if takes_gzip(asked.get(b"accept-encoding", b"")):
            body = encoded.gzipped
            headers.append((b"content-encoding", b"gzip"))
        if not services.admission.lets_snapshot_in(len(body)):
            return None
        note_poll(services, principal, asked, encoded)
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        return 200, headers, body
