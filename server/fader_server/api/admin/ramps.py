"""Ramps: a flag that is brought up in steps, and comes down by itself when guards find that it does harm."""

from typing import Any

from litestar import Response, Router, get, post
from litestar.di import Provide
from litestar.params import JSONBody
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from fader_server.api.admin.configurations import FlagTarget, target
from fader_server.api.admin.operations import (
    Cursor,
    DryRun,
    Limit,
    answer,
    intent,
    operation,
    page_of,
    position_of,
    writing,
)
from fader_server.api.admin.ramp_documents import (
    AbortRamp,
    PreviewRamp,
    RampView,
    RampWritten,
    StartRamp,
    ramp_view,
)
from fader_server.api.admin.requests import Why
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Page
from fader_server.errors import NotFound
from fader_server.flags.commands import Target
from fader_server.flags.findings import Findings
from fader_server.flags.lookup import existing_project
from fader_server.ramping.plans import check_plan, check_traffic
from fader_server.ramping.preview import Preview, Traffic, preview, traffic_of
from fader_server.ramping.service import RampMoved, newest_ramp
from fader_server.storage import propagations, ramps
from fader_server.storage.records import NodePropagation, Ramp

_NOTHING_SAID = Why()
_LEFT_WHERE_IT_IS = AbortRamp()


def _command(operation_id: str, summary: str, *, body: type[Struct], status: int = 200) -> dict[str, Any]:
    return writing(
        operation_id, summary, role="editor", scope="environment", body=body, status=status, errors=(404, 412)
    )


def _answer(moved: RampMoved, *, dry_run: bool = False) -> Response[RampWritten]:
    return answer(RampWritten(ramp_view(moved.ramp), moved.revision), dry_run=dry_run)


@post("/", **_command("start_ramp", "Start a ramp with its first step", body=StartRamp, status=201))
async def start_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[StartRamp], dry_run: DryRun = False
) -> Response[RampWritten]:
    why = intent(principal, data.reason, dry_run=dry_run)
    return _answer(await admin.ramps.start(target, data.plan(), why), dry_run=dry_run)


@get(
    "/",
    **operation(
        "get_ramp",
        "Get a flag's newest ramp, with what its guards have found",
        role="viewer",
        scope="environment",
        errors=(404,),
    ),
)
async def get_ramp(admin: Admin, project: InPath, flag: InPath, environment: InPath) -> RampView:
    async with admin.store.read() as connection:
        ramp = await newest_ramp(connection, Target(project, flag, environment))
        if ramp is None:
            raise NotFound(f"Flag {flag!r} has never been in a ramp in {environment!r}.")
        return ramp_view(ramp, await ramps.looks(connection, ramp.id), await _reached(connection, ramp))


@post(
    "/plan",
    **operation(
        "preview_ramp",
        "Look at what a plan comes to, without starting it",
        role="viewer",
        scope="environment",
        body=PreviewRamp,
        status=200,
        errors=(404,),
    ),
)
async def preview_ramp(
    admin: Admin, project: InPath, flag: InPath, environment: InPath, data: JSONBody[PreviewRamp]
) -> Preview:
    plan, findings = data.plan(), Findings()
    check_plan(plan, admin.writer.limits, admin.clock(), has_prometheus=admin.ramps.has_prometheus, findings=findings)
    traffic: Traffic | None = None if data.traffic is None else data.traffic.traffic()
    if traffic is not None:
        check_traffic(traffic, findings)
    findings.raise_if_any()
    async with admin.store.read() as connection:
        earlier = await newest_ramp(connection, Target(project, flag, environment))
    if traffic is None and earlier is not None:
        traffic = traffic_of(earlier)
    return preview(plan, traffic)


@post("/pause", **_command("pause_ramp", "Keep a ramp where it is; guards go on watching", body=Why))
async def pause_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[Why] = _NOTHING_SAID
) -> Response[RampWritten]:
    return _answer(await admin.ramps.pause(target, intent(principal, data.reason)))


@post("/resume", **_command("resume_ramp", "Let a ramp go on that was paused or held", body=Why))
async def resume_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[Why] = _NOTHING_SAID
) -> Response[RampWritten]:
    return _answer(await admin.ramps.resume(target, intent(principal, data.reason)))


@post("/advance", **_command("advance_ramp", "Go to a ramp's next step at once", body=Why))
async def advance_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[Why] = _NOTHING_SAID
) -> Response[RampWritten]:
    return _answer(await admin.ramps.advance(target, intent(principal, data.reason)))


@post("/approve", **_command("approve_ramp", "Approve of a ramp's going on after its present step", body=Why))
async def approve_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[Why] = _NOTHING_SAID
) -> Response[RampWritten]:
    return _answer(await admin.ramps.approve(target, intent(principal, data.reason)))


@post("/abort", **_command("abort_ramp", "End a ramp, and leave the flag where it is or switch it off", body=AbortRamp))
async def abort_ramp(
    admin: Admin, principal: Principal, target: FlagTarget, data: JSONBody[AbortRamp] = _LEFT_WHERE_IT_IS
) -> Response[RampWritten]:
    return _answer(await admin.ramps.abort(target, intent(principal, data.reason), off=data.off))


@get(
    "/projects/{project:str}/ramps",
    **operation("list_ramps", "List ramps, those under way and others", role="viewer", scope="project", errors=(404,)),
)
async def list_ramps(
    admin: Admin, principal: Principal, project: InPath, limit: Limit = 100, cursor: Cursor = None
) -> Page[RampView]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        found = await ramps.page(connection, project, principal.environments, after=after, limit=limit + 1)
    return page_of([ramp_view(ramp) for ramp in found], limit, lambda ramp: ramp.id)


async def _reached(connection: AsyncConnection, ramp: Ramp) -> list[NodePropagation]:
    found = await propagations.of_revisions(connection, ramp.project, ramp.environment, [ramp.progress.revision])
    return [one for one in found if one.epoch == ramp.epoch]


ramp_routes = Router(
    path="/projects/{project:str}/flags/{flag:str}/environments/{environment:str}/ramp",
    tags=["ramps"],
    dependencies={"target": Provide(target, sync_to_thread=False)},
    route_handlers=[
        start_ramp,
        get_ramp,
        preview_ramp,
        pause_ramp,
        resume_ramp,
        advance_ramp,
        approve_ramp,
        abort_ramp,
    ],
)
ramp_list_routes = Router(path="/", tags=["ramps"], route_handlers=[list_ramps])
