"""What Unleash's SDKs poll, answered by the connection that has read it, as ``snapshot_shortcut`` does for ours: if
everything is at hand, and nothing is unusual about the request."""

import logging
import time
from typing import Final

from litestar import Litestar

from fader_server.api.request_limits import RequestLimits
from fader_server.api.sdk.encoded import holds
from fader_server.api.shortcut import Answer
from fader_server.api.unleash.features import FEATURES, FEATURES_PATH
from fader_server.api.unleash.identities import dialect_in, name_of
from fader_server.api.unleash.services import UnleashServices
from fader_server.api.unleash.tags import is_ahead, version_held
from fader_server.api.unleash.views import query_of

_requests_log: Final = logging.getLogger("fader_server.requests")


class FeaturesShortcut:
    """Implements :class:`fader_server.api.shortcut.Shortcut`.

    Args:
        litestar: Whose state has the services, once it has started.
        limits: What the requests are counted against.
    """

    method: Final = b"GET"
    path: Final = FEATURES_PATH.encode()
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
        services: UnleashServices = self._litestar.state.unleash
        sdk = services.sdk
        authorization = asked.get(b"authorization", b"")
        principal = sdk.access.recent_sdk_principal(authorization.decode("latin-1"))
        feed = None if principal is None else sdk.distributor.feed_at_hand(principal.project, principal.environment)
        if principal is None or feed is None:
            return None
        dialect = dialect_in(asked)
        encoded = services.views.of(feed).encoded_at_hand(dialect)
        if encoded is None:
            return None
        if_none_match = asked.get(b"if-none-match", b"")
        is_held = holds(if_none_match, encoded.etag)
        if is_held:
            if services.steering.is_due(asked, name_of(asked)):
                return None
        elif if_none_match and is_ahead(version_held(if_none_match, query_of(dialect)), encoded.version):
            return None
        if not self._limits.lets_sdk_in(authorization):
            return None
        answer = FEATURES.at_once(sdk, asked, encoded, is_held=is_held)
        if answer is None:
            return None
        services.note_poll(principal, asked, encoded.version)
        sdk.metrics.request_answered("GET", FEATURES_PATH, answer.status, time.perf_counter() - began)
        return answer
