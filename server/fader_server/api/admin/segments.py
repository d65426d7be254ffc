"""Segments."""

from collections import defaultdict
from typing import Final

from litestar import Response, Router, delete, get, post, put
from litestar.params import JSONBody

from fader_server.api.admin.operations import (
    Cursor,
    DryRun,
    Limit,
    ReasonParameter,
    answer,
    intent,
    operation,
    page_of,
    position_of,
    writing,
)
from fader_server.api.admin.requests import CreateSegment, ReplaceSegment, model_of
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Page, SegmentView, segment_view
from fader_server.flags.lookup import existing_project, existing_segment
from fader_server.flags.segments import SegmentContent, SegmentState
from fader_server.storage import flags, segments

LARGEST_BODY: Final = 16 * 1024 * 1024
"""In bytes: room for hundreds of thousands of targeting keys, which are more than other bodies may hold. Still more are
uploaded as a file (``segment_members``)."""


@get("/", **operation("list_segments", "List segments", role="viewer", scope="project", errors=(404,)))
async def list_segments(admin: Admin, project: InPath, limit: Limit = 100, cursor: Cursor = None) -> Page[SegmentView]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        found = await segments.page(connection, project, after=after, limit=limit + 1)
        users = await flags.users_of(connection, project, "segment")
    used_by: dict[str, set[str]] = defaultdict(set)
    for segment, flag, _ in users:
        used_by[segment].add(flag)
    views = [segment_view(SegmentState(segment, tuple(sorted(used_by[segment.key])))) for segment in found]
    return page_of(views, limit, lambda segment: segment.key)


@post(
    "/",
    request_max_body_size=LARGEST_BODY,
    **writing(
        "create_segment",
        "Create a segment",
        role="editor",
        scope="whole project",
        body=CreateSegment,
        status=201,
        errors=(404, 409),
    ),
)
async def create_segment(
    admin: Admin,
    principal: Principal,
    project: InPath,
    data: JSONBody[CreateSegment],
    dry_run: DryRun = False,
) -> Response[SegmentView]:
    why = intent(principal, data.reason, dry_run=dry_run)
    created = await admin.segments.create(project, data.key, model_of(data, SegmentContent), why)
    return answer(segment_view(created), dry_run=dry_run)


@get(
    "/{segment:str}",
    **operation("get_segment", "Get a segment", role="viewer", scope="project", errors=(404,)),
)
async def get_segment(admin: Admin, project: InPath, segment: InPath) -> SegmentView:
    async with admin.store.read() as connection:
        found = await existing_segment(connection, project, segment)
        users = await flags.users_of(connection, project, "segment", segment)
    return segment_view(SegmentState(found, tuple(sorted({flag for _, flag, _ in users}))))


@put(
    "/{segment:str}",
    request_max_body_size=LARGEST_BODY,
    **writing(
        "replace_segment",
        "Replace all of a segment but its names",
        role="editor",
        scope="whole project",
        body=ReplaceSegment,
        errors=(404,),
    ),
)
async def replace_segment(
    admin: Admin,
    principal: Principal,
    project: InPath,
    segment: InPath,
    data: JSONBody[ReplaceSegment],
    dry_run: DryRun = False,
) -> Response[SegmentView]:
    why = intent(principal, data.reason, dry_run=dry_run)
    replaced = await admin.segments.replace(project, segment, model_of(data, SegmentContent), why)
    return answer(segment_view(replaced), dry_run=dry_run)


@delete(
    "/{segment:str}",
    **writing(
        "delete_segment",
        "Delete a segment that no rule names",
        role="editor",
        scope="whole project",
        status=204,
        errors=(404, 409),
    ),
)
async def delete_segment(
    admin: Admin,
    principal: Principal,
    project: InPath,
    segment: InPath,
    reason: ReasonParameter = "",
    dry_run: DryRun = False,
) -> Response[None]:
    await admin.segments.delete(project, segment, intent(principal, reason, dry_run=dry_run))
    return answer(None, dry_run=dry_run)


segment_routes = Router(
    path="/projects/{project:str}/segments",
    tags=["segments"],
    route_handlers=[list_segments, create_segment, get_segment, replace_segment, delete_segment],
)
