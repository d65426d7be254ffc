"""``GET /sdk/v1/stream``. Bare ASGI: the task of a connection opens the stream, and then only waits for its end; what
is sent on it is sent by the fan-out, which takes the steps of ``send`` itself."""

from typing import Final, cast
from urllib.parse import parse_qs

from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.access import SdkPrincipal
from fader_server.api.sdk.services import SdkServices, admit, identity_of, method_of, node_of, staleness
from fader_server.clients import Client, Roster
from fader_server.distribution import Feed, Subscription
from fader_server.distribution.events import OPENING, Version
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable
from fader_server.logs import logger
from fader_server.telemetry.catalogue import StreamEnding

_log = logger(__name__)

_AGAIN_IN: Final = 2  # seconds; for streams that are asked for while the server shuts down
_STREAM_HEADERS: Final = (
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


@asgi("/sdk/v1/stream", copy_scope=False)
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """What brings the client up to date, and then every change as it happens, as Server-Sent Events."""
    services, asked, feed, principal = await admit(scope)
    if services.distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=_AGAIN_IN)
    if method_of(scope) == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": _headers(services, feed.version)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    since = Version.parse(asked.get(b"last-event-id", b"").decode("latin-1") or _since(scope))
    with services.admission.stream(principal.key_id):
        subscription = await feed.subscribe(principal.key_id, since, send, admit=services.admission.begin_stream)
        if services.distributor.is_closing:  # since a moment ago: the others have been told already
            feed.dismiss(subscription, _AGAIN_IN * 1000, Ending.GOODBYE)
        services.metrics.stream_opened()
        # The environment may be removed before the stream ends: then this one is of no interest any more.
        roster = services.gathering.roster(principal.project, principal.environment)
        client = _note(services, principal, asked, since)
        try:
            headers = _headers(services, subscription.version)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            # What was asked is of no interest any more; kept for as long as the stream lives, it would be a tenth of
            # all that a stream takes.
            asked.clear()
            # Nor has any middleware more to do, and each event would have to go through all of them.
            subscription.send = cast("Send", scope["state"].get("send", send))
            cast("list[object]", scope["headers"]).clear()
            await _run(feed, subscription, receive)
        finally:
            feed.unsubscribe(subscription)
            _forget(roster, client)
            services.metrics.stream_ended(_ENDINGS[subscription.ending])
            _log.debug("stream ended", why=subscription.ending.value if subscription.ending else "it broke")


async def _run(feed: Feed, subscription: Subscription, receive: Receive) -> None:
    # A comment first, and at once, so that the client knows that streams get through.
    first, subscription.first = OPENING + subscription.first, b""
    await subscription.send({"type": "http.response.body", "body": first, "more_body": True})
    await feed.follow(subscription)
    while (await receive())["type"] != "http.disconnect":
        pass
    if subscription.ending is None:
        subscription.ending = Ending.TOO_SLOW if subscription.is_parked else Ending.LEFT


def _headers(services: SdkServices, version: Version) -> list[tuple[bytes, bytes]]:
    return [
        *_STREAM_HEADERS,
        (b"fader-heartbeat", f"{services.heartbeat_seconds:g}".encode()),
        # What the first event brings the client to: if that is what it has already, no event will come.
        (b"fader-version", str(version).encode()),
        # The client says it when it comes back, wherever that is: so nodes can tell who has moved.
        (b"fader-node", services.gathering.node.encode()),
        *staleness(services),
    ]


def _note(
    services: SdkServices, principal: SdkPrincipal, asked: dict[bytes, bytes], since: Version | None
) -> Client | None:
    """Take a client down, under its name if it has one."""
    identity = identity_of(asked)
    if identity is None:
        services.gathering.roster(principal.project, principal.environment).unnamed += 1
        return None
    return services.gathering.connected(
        principal.project,
        principal.environment,
        identity,
        None if since is None else (since.epoch, since.revision),
        node_of(asked),
    )


def _forget(roster: Roster, client: Client | None) -> None:
    if client is None:
        roster.unnamed -= 1
    else:
        roster.disconnected(client)


def _since(scope: Scope) -> str:
    """For clients that cannot set headers."""
    return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("since", ())), "")
