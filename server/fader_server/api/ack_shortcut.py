"""Acknowledgements, answered before anything else looks at them.

Ten thousand processes acknowledge a change within two seconds, each over a connection of its own. All that it takes is
in memory, as with ``snapshot_shortcut``: same limits, same place in the metrics as on the way through the framework, at
less than half of the price. Whatever is unusual about one (a key not seen lately, a limit that was met, a body that is
not what it should be) goes that way.
"""

import logging
import time
from collections.abc import Awaitable
from typing import Any, Final, cast

import msgspec
from litestar import Litestar
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from fader_server.api.request_limits import RequestLimits
from fader_server.api.sdk import SdkServices
from fader_server.api.sdk.acknowledging import ACK_PATH, AckBody

_LARGEST: Final = 4_096
_OF_A_REQUEST: Final = 0.25
"""What one counts as. The server asks for them itself, at a rate of its own choice, which must not use up what a key
may ask for."""
_requests_log: Final = logging.getLogger("fader_server.requests")
_decoder: Final = msgspec.json.Decoder(AckBody)
_START: Final[Any] = {"type": "http.response.start", "status": 204, "headers": []}
_END: Final[Any] = {"type": "http.response.body", "body": b"", "more_body": False}


class AckShortcut:
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
        return (self._serve if scope.get("path") == ACK_PATH else self._app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        first = await receive()
        if not self._is_taken(cast("HTTPScope", scope), first):
            await self._app(scope, _again(first, receive), send)
            return
        await send(_START)
        await send(_END)
        services: SdkServices = self._litestar.state.sdk
        services.metrics.request_answered("POST", ACK_PATH, 204, time.perf_counter() - began)

    def _is_taken(self, scope: HTTPScope, message: Any) -> bool:
        """Take the acknowledgement, if there is nothing unusual about it."""
        asked = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        if (
            scope["method"] != "POST"
            or message["type"] != "http.request"
            or message["more_body"]
            or len(message["body"]) > _LARGEST
            or asked.get(b"content-type") != b"application/json"
            or b"x-request-id" in asked
            or "is_surplus" in scope["state"]
            or _requests_log.isEnabledFor(logging.DEBUG)
        ):
            return False
        services: SdkServices = self._litestar.state.sdk
        authorization = asked.get(b"authorization", b"")
        principal = services.access.recent_sdk_principal(authorization.decode("latin-1"))
        if principal is None:
            return False
        try:
            acknowledged = _decoder.decode(message["body"])
        except msgspec.MsgspecError:
            return False
        if not self._limits.lets_sdk_in(authorization, _OF_A_REQUEST):
            return False
        services.gathering.acknowledged(principal.project, principal.environment, acknowledged.said())
        return True


def _again(first: Any, receive: Receive) -> Receive:
    """The request from its beginning: what has been received already, and then the rest."""
    unread = [first]

    async def receive_again() -> Any:
        return unread.pop() if unread else await receive()

    return receive_again
