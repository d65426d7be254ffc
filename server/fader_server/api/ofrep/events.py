"""Streams that tell of changes, so that a page need not ask again and again: ``GET /ofrep/v1/stream?token=…``.

An event says that something has changed, and not what: what it comes to for a context, the client asks for. OFREP's ADR
8 describes it.
"""

from typing import Final, cast
from urllib.parse import parse_qs

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from fader_server.api.event_streams import AGAIN_IN, STREAM_HEADERS, end_stream, run_stream
from fader_server.api.sdk import SdkServices
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import HEARTBEAT, Delivery, Version, body
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable

STREAM_PATH: Final = "/ofrep/v1/stream"
_INACTIVITY_SECONDS: Final = 120
"""How long a page may be hidden before its client closes the stream; what the protocol proposes."""


class Announcements:
    """Implements :class:`fader_server.distribution.encoding.Encoding`: there is something new, ask again.

    Args:
        served: What there is.
    """

    heartbeat: Final = HEARTBEAT

    def __init__(self, served: Served) -> None:
        self._served = served
        self._newest: Delivery | None = None

    def beginning(self, since: Version | None) -> Delivery | None:
        """Who comes without having heard anything has asked for its flags a moment ago, and what has changed since then
        it would miss: it asks once more, and nearly always hears that nothing has changed."""
        return None if since == self._served.version else self._announcement()

    def way(self, since: Version) -> Delivery:
        """However much has changed, it is asked for once."""
        del since
        return self._announcement()

    def goodbye(self, retry_milliseconds: int) -> bytes:
        """There is no event for it: only how soon to come again."""
        return b"retry: %d\n\n" % retry_milliseconds

    def _announcement(self) -> Delivery:
        version = self._served.version
        if self._newest is None or self._newest.leads_to is not version:
            data: dict[str, str | int] = {"type": "refetchEvaluation", "etag": str(version)}
            if self._served.changed_at is not None:
                data["lastModified"] = int(self._served.changed_at.timestamp())
            event = b"id: %b\nevent: message\ndata: %b\n\n" % (str(version).encode(), msgspec.json.encode(data))
            self._newest = Delivery("change", body(event), version)
        return self._newest


def streams_for(token: str) -> bytes:
    """Where somebody is told of changes, as JSON. Relative to where they ask, which only they know."""
    uri = f"{STREAM_PATH}?token={token}"
    stream = {"type": "sse", "endpoint": {"requestUri": uri}, "inactivityDelaySec": _INACTIVITY_SECONDS}
    return msgspec.json.encode([stream])


async def event_stream(services: SdkServices, scope: Scope, receive: Receive, send: Send) -> None:
    """Announce every change, until the client leaves, or the key that its token was made from is revoked.

    Raises:
        FaderError: if there is no token that lets in, or no environment, or there are too many streams.
    """
    token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
    principal = await services.access.stream_principal(token)
    feed = await services.distributor.feed(principal.project, principal.environment)
    if services.distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=AGAIN_IN)
    if cast("HTTPScope", scope)["method"] == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    last = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"")
    streams = feed.streams_in(Announcements)
    with services.admission.stream(principal.key_id):
        since = Version.parse(last.decode("latin-1"))
        subscription = await streams.subscribe(principal.key_id, since, send, admit=services.admission.begin_stream)
        if services.distributor.is_closing:  # since a moment ago: the others have been told already
            streams.dismiss(subscription, AGAIN_IN * 1000, Ending.GOODBYE)
        services.metrics.stream_opened()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS]})
            await run_stream(streams, subscription, scope, receive, send)
        finally:
            end_stream(streams, subscription, services.metrics)
