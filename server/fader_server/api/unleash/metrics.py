"""``POST /api/client/metrics`` and ``/metrics/bulk``: how often flags were evaluated by Unleash's SDKs, and by proxies
in front of them."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Struct

from fader_server.access import SdkPrincipal
from fader_server.api.unleash.bodies import LenientBody
from fader_server.api.unleash.counting import Counted, usage_of
from fader_server.api.unleash.registering import Registration, introduce
from fader_server.api.unleash.services import UnleashServices
from fader_server.errors import TooLarge
from fader_server.storage.records import UsageReport

_MOST_NAMES: Final = 20_000


class Bucket(Struct, frozen=True, kw_only=True):
    """What was counted in an interval. ``stop`` is a time as RFC 3339 has it, or in seconds since 1970."""

    stop: Any = None
    toggles: Any = None


class MetricsBody(Struct, frozen=True, kw_only=True):
    """What a process has counted; ``null`` if that is nothing. Whatever else it says of itself is ignored."""

    bucket: Bucket | None = None

    def counted(self) -> list[Counted]:
        """What it has counted of each flag, as far as that can be read."""
        toggles = None if self.bucket is None else self.bucket.toggles
        return [
            Counted(name, said.get("yes"), said.get("no"), said.get("variants"))
            for name, said in (toggles if isinstance(toggles, dict) else {}).items()
            if isinstance(said, dict)
        ]


class CountedBySome(Counted, frozen=True, kw_only=True, rename="camel"):
    """What several processes have counted of one flag in one environment."""

    environment: str | None = None
    timestamp: Any = None


class BulkBody(Struct, frozen=True, kw_only=True):
    """What a proxy has heard from the processes that it serves."""

    applications: tuple[Registration, ...] = ()
    metrics: tuple[CountedBySome, ...] = ()


@post(
    "/api/client/metrics",
    dto=LenientBody[MetricsBody],
    status_code=202,
    operation_id="reportUnleashMetrics",
    include_in_schema=False,
)
async def metrics(data: JSONBody[MetricsBody], request: Request[object, object, State]) -> Response[bytes]:
    """Add up what a process has counted. Nothing tells a report that is sent twice from two reports."""
    services: UnleashServices = request.app.state.unleash
    principal = await services.sdk.access.sdk_principal(request.headers.get("authorization"))
    await _record(services, principal, data.counted(), None if data.bucket is None else data.bucket.stop)
    return Response(b"", status_code=202)


@post(
    "/api/client/metrics/bulk",
    dto=LenientBody[BulkBody],
    status_code=202,
    operation_id="reportUnleashMetricsInBulk",
    include_in_schema=False,
)
async def bulk(data: JSONBody[BulkBody], request: Request[object, object, State]) -> Response[bytes]:
    """Add up what a proxy has heard, as far as it is of the key's environment."""
    services: UnleashServices = request.app.state.unleash
    principal = await services.sdk.access.sdk_principal(request.headers.get("authorization"))
    for application in data.applications:
        introduce(services, application)
    counted = [one for one in data.metrics if one.environment in (None, principal.environment)]
    await _record(services, principal, counted, counted[-1].timestamp if counted else None)
    return Response(b"", status_code=202)


async def _record(services: UnleashServices, principal: SdkPrincipal, counted: Iterable[Counted], stop: Any) -> None:
    feed = await services.sdk.distributor.feed(principal.project, principal.environment)
    usage = usage_of(counted, feed.snapshot.flags)
    if not usage.flags and not usage.unknown:
        return
    if sum(map(len, usage.flags.values())) + len(usage.unknown) > _MOST_NAMES:
        raise TooLarge(f"This has more than {_MOST_NAMES:,} counts.", hint="Send several reports.")
    now = services.clock()
    report = UsageReport(
        id=secrets.token_hex(16),
        project=principal.project,
        environment=principal.environment,
        ended=_ended(stop, now),
        flags=usage.flags,
        unknown=usage.unknown,
    )
    await services.store.record_usage([report], now)
    services.sdk.metrics.usage_reported(counted=1)


def _ended(stop: Any, now: datetime) -> datetime:
    """When the interval ended, as far as the sender's word is a time that can be."""
    try:
        ended = msgspec.convert(stop, datetime, strict=False)
    except (msgspec.ValidationError, OverflowError, ValueError):
        return now
    return min(ended if ended.tzinfo is not None else ended.replace(tzinfo=UTC), now)
