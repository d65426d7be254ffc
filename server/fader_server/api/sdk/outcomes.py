"""``POST /sdk/v1/outcomes``: what became of users where guards watch."""

from typing import Annotated, Final

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta, Struct

from fader.outcomes import OutcomeReport, Outcomes
from fader_server.api.bodies import StrictBody
from fader_server.errors import FieldError, Invalid
from fader_server.ramping.outcomes import Reports

_MOST_GUARDS: Final = 1_000

Name = Annotated[str, Meta(max_length=512)]


class OutcomesBody(Struct, frozen=True, kw_only=True):
    """Sketches of distinct users, and sums, by the ids that guards have in the snapshot. Fields that are not known are
    ignored: a newer SDK may say more."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    """Fresh for each report; a report that is sent again has the same one."""
    instance: Name = ""
    app: Name = ""
    guards: dict[Name, Outcomes] = {}


@post(
    "/sdk/v1/outcomes",
    dto=StrictBody[OutcomesBody],
    status_code=202,
    summary="Report outcomes",
    tags=["sdk"],
    operation_id="reportOutcomes",
    include_in_schema=False,
)
async def outcomes(data: JSONBody[OutcomesBody], request: Request[object, object, State]) -> Response[None]:
    """Take in what a process has seen. Sending a report again changes nothing."""
    state = request.app.state
    principal = await state.admin.access.sdk_principal(request.headers.get("authorization"))
    if len(data.guards) > _MOST_GUARDS:
        raise Invalid.of([FieldError("guards", f"has more than {_MOST_GUARDS:,} entries", "Send several reports.")])
    reports: Reports = state.reports
    report = OutcomeReport(id=data.id, instance=data.instance, app=data.app, guards=data.guards)
    try:
        reports.take(principal.project, principal.environment, report)
    except ValueError as error:
        raise Invalid.of([FieldError("guards", str(error))]) from None
    return Response(None, status_code=202)
