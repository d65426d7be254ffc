"""Flags as such: their definitions, life and usage."""

from datetime import timedelta
from typing import Annotated

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import JSONBody, QueryParameter

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
from fader_server.api.admin.requests import CreateFlag, PatchFlag, Why, model_of
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import FlagUsage, FlagView, Page, UsageItem, dark_launch_item, flag_view
from fader_server.api.guards import refuse_environment
from fader_server.flags.commands import FlagPatch, NewFlag
from fader_server.flags.lookup import existing_flag, existing_project, flag_states
from fader_server.storage import flags, usage

_NOTHING_SAID = Why()
_LONGEST_HOURS = int(usage.COUNTS_KEPT / timedelta(hours=1))


@get("/", **operation("list_flags", "List flags", role="viewer", scope="project", errors=(404,)))
async def list_flags(
    admin: Admin,
    principal: Principal,
    project: InPath,
    archived: Annotated[bool, QueryParameter(description="The archived ones instead of the others.")] = False,
    search: Annotated[str, QueryParameter(description="What occurs in the key, the description or the owner.")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[FlagView]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        found = await flags.page(connection, project, archived=archived, search=search, after=after, limit=limit + 1)
        states = await flag_states(connection, project, found)
    return page_of([flag_view(state, principal) for state in states], limit, lambda flag: flag.key)


@post(
    "/",
    **writing(
        "create_flag",
        "Create a flag, switched off everywhere",
        role="editor",
        scope="whole project",
        body=CreateFlag,
        status=201,
        errors=(404, 409),
    ),
)
async def create_flag(
    admin: Admin, principal: Principal, project: InPath, data: JSONBody[CreateFlag], dry_run: DryRun = False
) -> Response[FlagView]:
    created = await admin.flags.create(
        project, model_of(data, NewFlag), intent(principal, data.reason, dry_run=dry_run)
    )
    return answer(flag_view(created, principal), dry_run=dry_run)


@get("/{flag:str}", **operation("get_flag", "Get a flag", role="viewer", scope="project", errors=(404,)))
async def get_flag(admin: Admin, principal: Principal, project: InPath, flag: InPath) -> FlagView:
    async with admin.store.read() as connection:
        found = await existing_flag(connection, project, flag)
        [state] = await flag_states(connection, project, [found])
    return flag_view(state, principal)


@patch(
    "/{flag:str}",
    **writing(
        "patch_flag",
        "Change a flag's texts, kind and variants",
        role="editor",
        scope="whole project",
        body=PatchFlag,
        errors=(404, 409),
    ),
)
async def patch_flag(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    data: JSONBody[PatchFlag],
    dry_run: DryRun = False,
) -> Response[FlagView]:
    patched = await admin.flags.patch(
        project, flag, model_of(data, FlagPatch), intent(principal, data.reason, dry_run=dry_run)
    )
    return answer(flag_view(patched, principal), dry_run=dry_run)


@delete(
    "/{flag:str}",
    **writing(
        "delete_flag",
        "Delete an archived flag for good",
        role="editor",
        scope="whole project",
        status=204,
        errors=(404, 409),
    ),
)
async def delete_flag(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    reason: ReasonParameter = "",
    dry_run: DryRun = False,
) -> Response[None]:
    await admin.flags.delete(project, flag, intent(principal, reason, dry_run=dry_run))
    return answer(None, dry_run=dry_run)


@post(
    "/{flag:str}/archive",
    **writing(
        "archive_flag",
        "Take a flag away from all SDKs, and keep it",
        role="editor",
        scope="whole project",
        body=Why,
        errors=(404, 409),
    ),
)
async def archive_flag(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    data: JSONBody[Why] = _NOTHING_SAID,
    dry_run: DryRun = False,
) -> Response[FlagView]:
    archived = await admin.flags.archive(project, flag, intent(principal, data.reason, dry_run=dry_run))
    return answer(flag_view(archived, principal), dry_run=dry_run)


@post(
    "/{flag:str}/unarchive",
    **writing(
        "unarchive_flag",
        "Bring an archived flag back as it was",
        role="editor",
        scope="whole project",
        body=Why,
        errors=(404, 409),
    ),
)
async def unarchive_flag(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    data: JSONBody[Why] = _NOTHING_SAID,
    dry_run: DryRun = False,
) -> Response[FlagView]:
    restored = await admin.flags.unarchive(project, flag, intent(principal, data.reason, dry_run=dry_run))
    return answer(flag_view(restored, principal), dry_run=dry_run)


@get(
    "/{flag:str}/usage",
    **operation("flag_usage", "How often a flag is evaluated", role="viewer", scope="project", errors=(404,)),
)
async def flag_usage(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    environment: Annotated[str | None, QueryParameter(description="Only in this one.")] = None,
    hours: Annotated[int, QueryParameter(ge=1, le=_LONGEST_HOURS, description="Back to so many hours ago.")] = 24,
) -> FlagUsage:
    if environment is not None:
        refuse_environment(principal, environment)
    places = principal.environments if environment is None else (environment,)
    async with admin.store.read() as connection:
        await existing_flag(connection, project, flag)
        since = admin.clock() - timedelta(hours=hours)
        counted = await usage.of_flag(connection, project, flag, environments=places, since=since)
        dark = await usage.dark_launches(connection, project, flag, environments=places, since=since)
        last = await usage.last_evaluated(connection, project, flag, places)
    items = [msgspec.convert(one, UsageItem, from_attributes=True) for one in counted]
    return FlagUsage(items, last, [dark_launch_item(one) for one in dark])


flag_routes = Router(
    path="/projects/{project:str}/flags",
    tags=["flags"],
    route_handlers=[
        list_flags,
        create_flag,
        get_flag,
        patch_flag,
        delete_flag,
        archive_flag,
        unarchive_flag,
        flag_usage,
    ],
)
