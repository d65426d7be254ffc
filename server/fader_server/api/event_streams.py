"""What streams of events have in common, whatever is written on them. Bare ASGI: the task of a connection opens the
stream, and then only waits for its end; what is sent on it is sent by the fan-out, which takes the steps of ``send``
itself."""

from typing import Final, cast

from litestar.types import Receive, Scope, Send

from fader_server.distribution import Streams, Subscription
from fader_server.distribution.events import OPENING
from fader_server.distribution.subscription import Ending
from fader_server.logs import logger
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEnding

_log = logger(__name__)

AGAIN_IN: Final = 2
"""Seconds after which to come again, for streams that are asked for while the server shuts down."""

STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Proxies must pass on each event as it comes: neither keep it, nor compress it, nor wait for more.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

_ENDINGS: Final[dict[Ending | None, StreamEnding]] = {
    Ending.LEFT: "left",
    Ending.TOO_SLOW: "too_slow",
    Ending.GOODBYE: "goodbye",
    Ending.REVOKED: "revoked",
    None: "broken",
}


async def run_stream(streams: Streams, subscription: Subscription, scope: Scope, receive: Receive, send: Send) -> None:
    """Send on a stream whose head has been sent, until it ends.

    Args:
        streams: Those that it is one of.
        subscription: It.
        scope: The request. Its headers are forgotten: they are of no interest any more, and kept for as long as the
            stream lives, they would be a tenth of all that a stream takes.
        receive: Tells when the client has left.
        send: The whole way to the client. Only the end of it is used, where it is known: no middleware has more to do,
            and each event would have to go through all of them.
    """
    cast("list[object]", scope["headers"]).clear()
    subscription.send = cast("Send", scope["state"].get("send", send))
    # A comment first, and at once, so that the client knows that streams get through.
    first, subscription.first = OPENING + subscription.first, b""
    await subscription.send({"type": "http.response.body", "body": first, "more_body": True})
    await streams.follow(subscription)
    while (await receive())["type"] != "http.disconnect":
        pass
    if subscription.ending is None:
        subscription.ending = Ending.TOO_SLOW if subscription.is_parked else Ending.LEFT


def end_stream(streams: Streams, subscription: Subscription, metrics: Metrics) -> None:
    """Forget a stream, however it has ended."""
    streams.unsubscribe(subscription)
    metrics.stream_ended(_ENDINGS[subscription.ending])
    _log.debug("stream ended", why=subscription.ending.value if subscription.ending else "it broke")
