"""For SDKs, ``/sdk/v1``: the snapshot, the stream of changes, and their counts.

Snapshot and stream are bare ASGI: what they send is bytes that exist already, and nothing should stand between
these and the socket. Whoever has an SDK key may call them, for the environment of that key.
"""

import asyncio
import contextlib
from datetime import datetime
from typing import Annotated, Final, cast

from litestar import Request, Response, asgi, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import MethodNotAllowedException
from litestar.params import JSONBody
from litestar.types import HTTPScope, Receive, Scope, Send
from msgspec import Meta, Struct

from fader_server.access import Access, SdkPrincipal
from fader_server.api.bodies import StrictBody
from fader_server.distribution import Distributor, Feed, Subscription
from fader_server.distribution.events import OPENING, Version
from fader_server.distribution.subscription import Ending
from fader_server.errors import FieldError, Invalid, Unavailable
from fader_server.logs import logger
from fader_server.storage import Store
from fader_server.storage.records import UsageReport
from fader_server.telemetry import Metrics
from fader_server.telemetry.catalogue import StreamEnding

_log = logger(__name__)

_AGAIN_IN: Final = 2  # seconds; for streams that are asked for while the server shuts down
_STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Proxies must pass on each event as it comes: neither keep it, nor compress it, nor wait for more.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_MOST_NAMES: Final = 20_000
_ENDINGS: Final[dict[Ending | None, StreamEnding]] = {
    Ending.LEFT: "left",
    Ending.TOO_SLOW: "too_slow",
    Ending.GOODBYE: "goodbye",
    Ending.REVOKED: "revoked",
    None: "broken",
}


@asgi("/sdk/v1/snapshot", copy_scope=True)
async def snapshot(scope: Scope, receive: Receive, send: Send) -> None:
    """All flags and segments of the key's environment; 304 if the client has them already."""
    del receive
    connection, feed, _ = await _admit(scope)
    encoded = await feed.encoded()
    etag = f'"{encoded.version}"'.encode()
    headers = [(b"etag", etag), (b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept-Encoding")]
    headers += _staleness(connection)
    if _holds(connection.headers.get("if-none-match", ""), encoded.version):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    body = encoded.plain
    if "gzip" in connection.headers.get("accept-encoding", ""):
        body = encoded.gzipped
        headers.append((b"content-encoding", b"gzip"))
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if _method(scope) == "HEAD":
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})
    _metrics(connection).snapshot_sent(len(body))


@asgi("/sdk/v1/stream", copy_scope=True)
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """What brings the client up to date, and then every change as it happens, as Server-Sent Events."""
    connection, feed, principal = await _admit(scope)
    distributor: Distributor = connection.app.state.distributor
    if distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=_AGAIN_IN)
    since = connection.headers.get("last-event-id") or connection.query_params.get("since")
    heartbeat = f"{connection.app.state.heartbeat_seconds:g}".encode()
    subscription = await feed.subscribe(principal.key_id, Version.parse(since) if since else None)
    try:
        headers = [*_STREAM_HEADERS, (b"fader-heartbeat", heartbeat), *_staleness(connection)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if _method(scope) == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        metrics = _metrics(connection)
        metrics.stream_opened()
        try:
            # Something at once, so that the client knows that streams get through.
            await send({"type": "http.response.body", "body": OPENING, "more_body": True})
            await _pass_on(subscription, receive, send)
        finally:
            metrics.stream_ended(_ENDINGS[subscription.ending])
    finally:
        feed.unsubscribe(subscription)


async def _pass_on(subscription: Subscription, receive: Receive, send: Send) -> None:
    leaving = asyncio.create_task(_watch(subscription, receive))
    try:
        while (messages := await subscription.read()) is not None:
            if messages:
                await send({"type": "http.response.body", "body": messages, "more_body": True})
        if subscription.ending is not Ending.LEFT:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        _log.debug("stream ended", why=subscription.ending.value if subscription.ending else "it broke")


async def _watch(subscription: Subscription, receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            subscription.end(Ending.LEFT)
            return


async def _admit(scope: Scope) -> tuple["ASGIConnection[object, object, object, State]", Feed, SdkPrincipal]:
    """Who is asking, and for which environment."""
    if _method(scope) not in {"GET", "HEAD"}:
        raise MethodNotAllowedException(headers={"Allow": "GET, HEAD"})
    connection: ASGIConnection[object, object, object, State] = ASGIConnection(scope)
    state = connection.app.state
    access: Access = state.admin.access
    distributor: Distributor = state.distributor
    principal = await access.sdk_principal(connection.headers.get("authorization"))
    return connection, await distributor.feed(principal.project, principal.environment), principal


def _staleness(connection: "ASGIConnection[object, object, object, State]") -> list[tuple[bytes, bytes]]:
    """Says so where there may be newer changes that this server cannot see, because the database is away."""
    return [] if connection.app.state.distributor.is_current else [(b"fader-stale", b"true")]


def _metrics(connection: "ASGIConnection[object, object, object, State]") -> Metrics:
    metrics: Metrics = connection.app.state.telemetry.metrics
    return metrics


def _method(scope: Scope) -> str:
    method: str = cast("HTTPScope", scope)["method"]
    return method


def _holds(if_none_match: str, version: Version) -> bool:
    """Whether the client has this version already. Compared weakly: proxies that compress make tags weak."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return f'"{version}"' in tags or "*" in tags


Name = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class UsageBody(Struct, frozen=True, kw_only=True):
    """How often each variant of each flag was served in an interval. Fields that are not known are ignored: a newer
    SDK may say more."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    """Fresh for each report; a report that is sent again has the same one."""
    ended: datetime
    started: datetime | None = None
    instance: Name = ""
    app: Name = ""
    flags: dict[Name, dict[Name, Count]] = {}
    unknown: dict[Name, Count] = {}


@post(
    "/sdk/v1/usage",
    dto=StrictBody[UsageBody],
    status_code=202,
    summary="Report usage",
    tags=["sdk"],
    operation_id="reportUsage",
    include_in_schema=False,
)
async def usage(data: JSONBody[UsageBody], request: Request[object, object, State]) -> Response[None]:
    """Add up what an SDK process has counted. Sending a report again changes nothing."""
    state = request.app.state
    principal = await state.admin.access.sdk_principal(request.headers.get("authorization"))
    if sum(1 + len(variants) for variants in data.flags.values()) + len(data.unknown) > _MOST_NAMES:
        raise Invalid.of([FieldError("flags", f"has more than {_MOST_NAMES:,} counts", "Send several reports.")])
    store: Store = state.admin.store
    now = state.admin.clock()
    counted = UsageReport(
        id=data.id,
        project=principal.project,
        environment=principal.environment,
        ended=min(data.ended, now) if data.ended.tzinfo is not None else now,
        flags=data.flags,
        unknown=data.unknown,
    )
    metrics: Metrics = state.telemetry.metrics
    if await store.record_usage([counted], now):
        metrics.usage_reported(counted=1)
    else:
        metrics.usage_reported(repeated=1)
    return Response(None, status_code=202)


routes: Final = [snapshot, stream, usage]
