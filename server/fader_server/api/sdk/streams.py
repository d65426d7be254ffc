"""``GET /sdk/v1/stream``."""

from urllib.parse import parse_qs

from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.access import SdkPrincipal
from fader_server.api.event_streams import AGAIN_IN, STREAM_HEADERS, end_stream, run_stream
from fader_server.api.sdk.services import SdkServices, admit, identity_of, method_of, node_of, staleness
from fader_server.clients import Client, Roster
from fader_server.distribution.events import Version
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable


@asgi("/sdk/v1/stream", copy_scope=False)
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """What brings the client up to date, and then every change as it happens, as Server-Sent Events."""
    services, asked, feed, principal = await admit(scope)
    if services.distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=AGAIN_IN)
    if method_of(scope) == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": _headers(services, feed.version)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    since = Version.parse(asked.get(b"last-event-id", b"").decode("latin-1") or _since(scope))
    streams = feed.sdk_streams
    with services.admission.stream(principal.key_id):
        subscription = await streams.subscribe(principal.key_id, since, send, admit=services.admission.begin_stream)
        if services.distributor.is_closing:  # since a moment ago: the others have been told already
            streams.dismiss(subscription, AGAIN_IN * 1000, Ending.GOODBYE)
        services.metrics.stream_opened()
        # The environment may be removed before the stream ends: then this one is of no interest any more.
        roster = services.gathering.roster(principal.project, principal.environment)
        client = _note(services, principal, asked, since)
        try:
            headers = _headers(services, subscription.version)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            asked.clear()
            await run_stream(streams, subscription, scope, receive, send)
        finally:
            _forget(roster, client)
            end_stream(streams, subscription, services.metrics)


def _headers(services: SdkServices, version: Version) -> list[tuple[bytes, bytes]]:
    return [
        *STREAM_HEADERS,
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
