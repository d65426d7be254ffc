"""Who is listed in a segment: uploaded as a file, changed a little, listed, downloaded."""

import zlib
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Final, TypeAlias

from litestar import Request, Response, Router, get, post, put
from litestar.params import BodyKwarg, HeaderParameter, JSONBody
from litestar.response import Stream

from fader.members import hash_of
from fader_server.access import AdminPrincipal
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
from fader_server.api.admin.requests import EditMembers
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Page, SegmentView, segment_view
from fader_server.api.bodies import TextBody
from fader_server.errors import FieldError, Invalid
from fader_server.flags import member_listing
from fader_server.flags.lookup import existing_segment
from fader_server.flags.member_plans import tag_of
from fader_server.flags.members import ListOf, MemberEdit

LARGEST_FILE: Final = 64 * 1024 * 1024
"""In bytes: a million keys of sixty-odd characters each."""

_TEXT: Final = "text/plain"

_IfMatch: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The `ETag` of the list, as reading it gives it; if the list is another one, nothing is written.",
        schema_extra={"pattern": r'^("[0-9]{1,18}-[0-9a-f]{16}"|\*)$'},
    ),
]


def _list_of(project: str, segment: str, if_match: str | None) -> ListOf:
    if if_match in (None, "", "*"):
        return ListOf(project, segment)
    if len(if_match) < 2 or not if_match.startswith('"') or not if_match.endswith('"'):
        raise Invalid.of([FieldError("If-Match", "is not a tag in quotation marks", "Send the ETag as it was given.")])
    return ListOf(project, segment, if_match[1:-1])


@put(
    "/",
    request_max_body_size=LARGEST_FILE,
    **writing(
        "replace_members",
        "Let a segment list the targeting keys of a file, one in each line, and no others",
        role="editor",
        scope="whole project",
        errors=(400, 404, 412, 413, 415),
    ),
    dto=TextBody[bytes],
    return_dto=None,
)
async def replace_members(
    admin: Admin,
    principal: Principal,
    project: InPath,
    segment: InPath,
    data: Annotated[bytes, BodyKwarg(media_type=_TEXT)],
    if_match: _IfMatch = None,
    reason: ReasonParameter = "",
    dry_run: DryRun = False,
) -> Response[SegmentView]:
    why = intent(principal, reason, dry_run=dry_run)
    replaced = await admin.members.replace(_list_of(project, segment, if_match), data, why)
    return answer(segment_view(replaced), dry_run=dry_run)


@post(
    "/",
    request_max_body_size=LARGEST_FILE,
    **writing(
        "edit_members",
        "Add targeting keys to those that a segment lists, and take others out",
        role="editor",
        scope="whole project",
        body=EditMembers,
        errors=(404, 412),
    ),
)
async def edit_members(
    admin: Admin,
    principal: Principal,
    project: InPath,
    segment: InPath,
    data: JSONBody[EditMembers],
    if_match: _IfMatch = None,
    dry_run: DryRun = False,
) -> Response[SegmentView]:
    why = intent(principal, data.reason, dry_run=dry_run)
    edit = MemberEdit(add=data.add, remove=data.remove)
    edited = await admin.members.edit(_list_of(project, segment, if_match), edit, why)
    return answer(segment_view(edited), dry_run=dry_run)


@get(
    "/",
    **operation(
        "list_members",
        "List the targeting keys of a segment; all of them at once, a line each, for who accepts text/plain",
        role="viewer",
        scope="project",
        errors=(404,),
    ),
)
async def list_members(
    request: Request[str, AdminPrincipal, Any],
    admin: Admin,
    project: InPath,
    segment: InPath,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response[Page[str]] | Stream:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        found = await existing_segment(connection, project, segment)
        headers = {"ETag": f'"{tag_of(found)}"'}
        if _TEXT in request.headers.get("accept", ""):
            # Compressed as they are kept, so that a slow reader holds little, and no transaction.
            parts = await member_listing.everything(connection, found)
            return Stream(_lines(parts), media_type=f"{_TEXT}; charset=utf-8", headers=headers)
        keys = await member_listing.some(connection, found, after=_hash(after), limit=limit + 1)
    return Response(page_of(keys, limit, _position), headers=headers)


def _position(key: str) -> str:
    return format(hash_of(key.encode()), "016x")


def _hash(position: str) -> int:
    try:
        return int(position, 16) if position else -1
    except ValueError:
        raise Invalid.of([FieldError("cursor", "is not one that this list has given out")]) from None


async def _lines(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield zlib.decompress(part) + b"\n"


member_routes = Router(
    path="/projects/{project:str}/segments/{segment:str}/members",
    tags=["segments"],
    route_handlers=[list_members, replace_members, edit_members],
)
