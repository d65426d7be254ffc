"""Around every request, where traces are wanted: its span, and the trace's id in all that is logged meanwhile."""

from typing import Final, cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from fader_server.api.request_log import is_probe, is_stream
from fader_server.api.shown import shown
from fader_server.telemetry.tracing import RequestTracing

_W3C_HEADERS: Final = (b"traceparent", b"tracestate")


class RequestSpans:
    """ASGI middleware, outside of everything else. The span of a stream ends when the stream has opened: one that
    lasts for days would be shown to nobody."""

    def __init__(self, app: ASGIApp, tracing: RequestTracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if str(scope["type"]) != "http" or is_probe(scope):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("ascii"): value.decode("latin-1") for name, value in scope["headers"] if name in _W3C_HEADERS
        }
        method = cast("HTTPScope", scope)["method"]
        with (
            self._tracing.request(method, shown(scope["path"]), headers) as span,
            structlog.contextvars.bound_contextvars(trace_id=span.trace_id),
        ):

            async def send_noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.answered(scope.get("path_template", ""), message["status"])
                    if is_stream(message):
                        span.end()
                await send(message)

            await self._app(scope, receive, send_noting)
