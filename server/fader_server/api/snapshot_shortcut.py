"""The request that is made most, answered before anything else looks at it.

Ten thousand processes that poll, or that come back after an outage, ask for one thing: the snapshot, with a key that
was good a moment ago. Everything it takes is in memory, so a connection asks here when it has read such a request,
instead of making a task of it: same limits, same headers, same place in the metrics as on the way through the
framework, at a fraction of the price. Whatever is unusual about a request (a key not seen lately, a database that is
away, a limit that was met, a line that is wanted in the log) goes that way.
"""

import logging
import time
from typing import Final

from litestar import Litestar

from fader_server.api.request_limits import RequestLimits
from fader_server.api.sdk import SdkServices
from fader_server.api.sdk.encoded import holds
from fader_server.api.sdk.snapshots import SNAPSHOT_PATH, SNAPSHOTS, note_poll
from fader_server.api.shortcut import Answer

_requests_log: Final = logging.getLogger("fader_server.requests")


class SnapshotShortcut:
    """Implements :class:`fader_server.api.shortcut.Shortcut`.

    Args:
        litestar: Whose state has the services, once it has started.
        limits: What the requests are counted against.
    """

    method: Final = b"GET"
    path: Final = SNAPSHOT_PATH.encode()
    is_once: Final = False

    def __init__(self, litestar: Litestar, limits: RequestLimits) -> None:
        self._litestar = litestar
        self._limits = limits

    def answer(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer | None:
        """The answer, if it is all there."""
        began = time.perf_counter()
        asked = dict(headers)
        if body or len(asked) != len(headers) or _requests_log.isEnabledFor(logging.DEBUG):
            return None
        services: SdkServices = self._litestar.state.sdk
        authorization = asked.get(b"authorization", b"")
        principal = services.access.recent_sdk_principal(authorization.decode("latin-1"))
        encoded = None if principal is None else services.distributor.encoded(principal.project, principal.environment)
        if principal is None or encoded is None or not self._limits.lets_sdk_in(authorization):
            return None
        is_held = holds(asked.get(b"if-none-match", b""), encoded.etag)
        answer = SNAPSHOTS.at_once(services, asked, encoded, is_held=is_held)
        if answer is None:
            return None
        note_poll(services, principal, asked, encoded)
        services.metrics.request_answered("GET", SNAPSHOT_PATH, answer.status, time.perf_counter() - began)
        return answer
