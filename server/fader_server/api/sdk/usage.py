"""``POST /sdk/v1/usage``: how often flags were evaluated."""

from datetime import datetime
from typing import Annotated, Final

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta, Struct

from fader_server.api.bodies import StrictBody
from fader_server.errors import FieldError, Invalid
from fader_server.storage import Store
from fader_server.storage.records import UsageReport
from fader_server.telemetry import Metrics

_MOST_NAMES: Final = 20_000

Name = Annotated[str, Meta(max_length=512)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class UsageBody(Struct, frozen=True, kw_only=True):
    """How often each variant of each flag was served in an interval, and what became of dark launches. Fields that are
    not known are ignored: a newer SDK may say more."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    """Fresh for each report; a report that is sent again has the same one."""
    ended: datetime
    started: datetime | None = None
    instance: Name = ""
    app: Name = ""
    flags: dict[Name, dict[Name, Count]] = {}
    unknown: dict[Name, Count] = {}
    dark_launches: dict[Name, dict[Name, Count]] = {}


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
    counted_by_flag = (*data.flags.values(), *data.dark_launches.values())
    if sum(1 + len(counts) for counts in counted_by_flag) + len(data.unknown) > _MOST_NAMES:
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
        dark_launches=data.dark_launches,
    )
    metrics: Metrics = state.telemetry.metrics
    if await store.record_usage([counted], now):
        metrics.usage_reported(counted=1)
    else:
        metrics.usage_reported(repeated=1)
    return Response(None, status_code=202)
