"""Acknowledgements, taken before anything else looks at them.

Ten thousand processes acknowledge a change within two seconds, each over a connection of its own. All that it takes is
in memory, so a connection asks here when it has read one, instead of making a request and a task of it: same limits,
same place in the metrics as on the way through the framework, at a third of the price.
Whatever is unusual about one (a key not seen lately, a limit that was met, a body that is not what it should be) goes
that way.
"""

import logging
import time
from typing import Final

import msgspec
from litestar import Litestar

from fader_server.api.request_limits import RequestLimits
from fader_server.api.sdk import SdkServices
from fader_server.api.sdk.acknowledging import ACK_PATH, AckBody
from fader_server.api.shortcut import Answer

_OF_A_REQUEST: Final = 0.25
"""What one counts as. The server asks for them itself, at a rate of its own choice, which must not use up what a key
may ask for."""
_TAKEN: Final = Answer(204)
_requests_log: Final = logging.getLogger("fader_server.requests")
_decoder: Final = msgspec.json.Decoder(AckBody)


class AckShortcut:
    """Implements :class:`fader_server.api.shortcut.Shortcut`.

    Args:
        litestar: Whose state has the services, once it has started.
        limits: What the requests are counted against.
    """

    method: Final = b"POST"
    path: Final = ACK_PATH.encode()
    is_once: Final = True

    def __init__(self, litestar: Litestar, limits: RequestLimits) -> None:
        self._litestar = litestar
        self._limits = limits

    def answer(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer | None:
        """Take an acknowledgement, if there is nothing unusual about it."""
        began = time.perf_counter()
        asked = dict(headers)
        if (
            asked.get(b"content-type") != b"application/json"
            or b"x-request-id" in asked
            or len(asked) != len(headers)
            or _requests_log.isEnabledFor(logging.DEBUG)
        ):
            return None
        services: SdkServices = self._litestar.state.sdk
        authorization = asked.get(b"authorization", b"")
        principal = services.access.recent_sdk_principal(authorization.decode("latin-1"))
        if principal is None:
            return None
        try:
            acknowledged = _decoder.decode(body)
        except msgspec.MsgspecError:
            return None
        if not self._limits.lets_sdk_in(authorization, _OF_A_REQUEST):
            return None
        said, at = acknowledged.said(), acknowledged.node
        services.gathering.acknowledged(principal.project, principal.environment, said, at)
        services.metrics.request_answered("POST", ACK_PATH, 204, time.perf_counter() - began)
        return _TAKEN
