"""``GET /api/client/streaming``: every change as it happens, for those of Unleash's SDKs that take it."""

from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.api.event_streams import AGAIN_IN, STREAM_HEADERS, end_stream, run_stream
from fader_server.api.sdk.services import admit, method_of, staleness
from fader_server.api.unleash.services import UnleashServices
from fader_server.api.unleash.tags import version_of
from fader_server.distribution.subscription import Ending
from fader_server.errors import Unavailable


@asgi("/api/client/streaming", copy_scope=False)
async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    """What brings the SDK up to date, and then every change, as Server-Sent Events."""
    sdk, asked, feed, principal = await admit(scope)
    services: UnleashServices = scope["litestar_app"].state.unleash
    if sdk.distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=AGAIN_IN)
    headers = [*STREAM_HEADERS, *staleness(sdk)]
    if method_of(scope) == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await services.views.of(feed).begin()
    since = version_of(asked.get(b"last-event-id", b"").decode("latin-1"))
    identity = services.introductions.identity_of(asked)
    streams = feed.streams_in(services.encoding)
    with sdk.admission.stream(principal.key_id):
        subscription = await streams.subscribe(principal.key_id, since, send, admit=sdk.admission.begin_stream)
        if sdk.distributor.is_closing:  # since a moment ago: the others have been told already
            streams.dismiss(subscription, AGAIN_IN * 1000, Ending.GOODBYE)
        sdk.metrics.stream_opened()
        try:
            with services.followers.following(principal, identity, subscription):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                asked.clear()
                await run_stream(streams, subscription, scope, receive, send)
        finally:
            end_stream(streams, subscription, sdk.metrics)
