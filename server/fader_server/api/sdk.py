"""For SDKs, ``/sdk/v1``: the snapshot, the stream of changes, and their counts.

Snapshot and stream are bare ASGI: what they send is bytes that exist already, and nothing should stand between
these and the socket. Whoever has an SDK key may call them, for the environment of that key.
"""

import asyncio
import contextlib
from datetime import datetime
from typing import Annotated, Final, cast
from urllib.parse import parse_qs

from litestar import Request, Response, asgi, post
from litestar.datastructures import State
from litestar.exceptions import MethodNotAllowedException
from litestar.params import JSONBody
from litestar.types import HTTPScope, Receive, Scope, Send
from msgspec import Meta, Struct

from fader_server.access import Access, SdkPrincipal
from fader_server.api.admission import Admission
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
SNAPSHOT_HEADERS: Final = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Accept-Encoding"),
)
_STALE: Final = ((b"fader-stale", b"true"),)
_MOST_NAMES: Final = 20_000
_ENDINGS: Final[dict[Ending | None, StreamEnding]] = {
    Ending.LEFT: "left",
    Ending.TOO_SLOW: "too_slow",
    Ending.GOODBYE: "goodbye",
    Ending.REVOKED: "revoked",
    None: "broken",
}


class SdkServices(Struct, frozen=True):
    """What the handlers call."""

    access: Access
    distributor: Distributor
    admission: Admission
    metrics: Metrics
    heartbeat_seconds: float


@asgi("/sdk/v1/snapshot", copy_scope=True)
async def snapshot(scope: Scope, receive: Receive, send: Send) -> None:
    """All flags and segments of the key's environment; 304 if the client has them already."""
    del receive
    services, asked, feed, _ = await _admit(scope)
    encoded = await feed.encoded()
    headers = [(b"etag", encoded.etag), *SNAPSHOT_HEADERS, *_staleness(services)]
    if holds(asked.get(b"if-none-match", b""), encoded.etag):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    body = encoded.plain
    if takes_gzip(asked.get(b"accept-encoding", b"")):
        body = encoded.gzipped
        headers.append((b"content-encoding", b"gzip"))
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if _method(scope) == "HEAD":
        body = b""
    else:
        services.admission.snapshot(len(body))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    services.metrics.snapshot_sent(len(body))


@asgi("/sdk/v1/stream", copy_scope=True)
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """What brings the client up to date, and then every change as it happens, as Server-Sent Events."""
    services, asked, feed, principal = await _admit(scope)
    if services.distributor.is_closing:
        raise Unavailable("This server is shutting down.", retry_after=_AGAIN_IN)
    if _method(scope) == "HEAD":
        await send({"type": "http.response.start", "status": 200, "headers": _stream_headers(services, feed.version)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    since = asked.get(b"last-event-id", b"").decode("latin-1") or _since(scope)
    with services.admission.stream(principal.key_id):
        subscription = await feed.subscribe(
            principal.key_id,
            Version.parse(since),
            admit=services.admission.begin_stream,
            abort=scope["state"].get("abort", _cannot_be_cut),
        )
        if services.distributor.is_closing:  # since a moment ago: the others have been told already
            feed.dismiss(subscription, _AGAIN_IN * 1000, Ending.GOODBYE)
        services.metrics.stream_opened()
        try:
            headers = _stream_headers(services, subscription.version)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            # Something at once, so that the client knows that streams get through.
            await send({"type": "http.response.body", "body": OPENING, "more_body": True})
            await _pass_on(subscription, receive, send)
        finally:
            feed.unsubscribe(subscription)
            services.metrics.stream_ended(_ENDINGS[subscription.ending])


def _stream_headers(services: SdkServices, version: Version) -> list[tuple[bytes, bytes]]:
    return [
        *_STREAM_HEADERS,
        (b"fader-heartbeat", f"{services.heartbeat_seconds:g}".encode()),
        # What the first event brings the client to: if that is what it has already, no event will come.
        (b"fader-version", str(version).encode()),
        *_staleness(services),
    ]


def _cannot_be_cut() -> None:
    """Under another server than ours, which does not offer it."""


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


async def _admit(scope: Scope) -> tuple[SdkServices, dict[bytes, bytes], Feed, SdkPrincipal]:
    """Who is asking, with which headers, and for which environment."""
    if _method(scope) not in {"GET", "HEAD"}:
        raise MethodNotAllowedException(headers={"Allow": "GET, HEAD"})
    # Read by hand: the framework's view of a request takes longer to build than the whole answer.
    services: SdkServices = scope["litestar_app"].state.sdk
    asked: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        # Several lines of a name are one list (RFC 9110, section 5.3); of what is no list, nothing that makes sense.
        asked[name] = b"%s,%s" % (asked[name], value) if name in asked else value
    authorization = asked.get(b"authorization")
    principal = await services.access.sdk_principal(None if authorization is None else authorization.decode("latin-1"))
    return services, asked, await services.distributor.feed(principal.project, principal.environment), principal


def _since(scope: Scope) -> str:
    """For clients that cannot set headers."""
    return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("since", ())), "")


def _staleness(services: SdkServices) -> tuple[tuple[bytes, bytes], ...]:
    """Says so where there may be newer changes that this server cannot see, because the database is away."""
    return () if services.distributor.is_current else _STALE


def _method(scope: Scope) -> str:
    method: str = cast("HTTPScope", scope)["method"]
    return method


def holds(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the client has this version already. Compared weakly: proxies that compress make tags weak."""
    if not if_none_match or if_none_match == etag:
        return bool(if_none_match)
    tags = {tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")}
    return etag in tags or b"*" in tags


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether an ``Accept-Encoding`` allows it: RFC 9110, 12.5.3."""
    weights = {}
    for choice in accept_encoding.lower().replace(b" ", b"").split(b","):
        coding, _, weight = choice.partition(b";q=")
        weights[coding] = weight or b"1"
    return weights.get(b"gzip", weights.get(b"*", b"0")).strip(b"0.") != b""


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
