"""Hooks: URLs at which an alert switches a flag off. Each is in the answer that creates it, and nowhere else ever."""

from litestar import Router, delete, get, post
from litestar.params import JSONBody

from fader_server.api.admin.operations import Cursor, Limit, intent, operation, page_of, position_of, writing
from fader_server.api.admin.requests import CreateHook
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import HookView, NewHook, Page, hook_view, new_hook_view
from fader_server.flags.commands import Target
from fader_server.flags.lookup import existing_environment, existing_flag
from fader_server.storage import hooks


@get(
    "/",
    **operation(
        "list_hooks",
        "List the hooks at which alerts switch a flag off",
        role="viewer",
        scope="environment",
        errors=(404,),
    ),
)
async def list_hooks(
    admin: Admin, project: InPath, flag: InPath, environment: InPath, limit: Limit = 100, cursor: Cursor = None
) -> Page[HookView]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_environment(connection, project, environment)
        await existing_flag(connection, project, flag)
        found = await hooks.of_flag(connection, project, environment, flag, after=after, limit=limit + 1)
    return page_of([hook_view(hook) for hook in found], limit, lambda hook: hook.id)


@post(
    "/",
    **writing(
        "create_hook",
        "Create a hook: a URL at which an alert switches a flag off",
        role="editor",
        scope="environment",
        body=CreateHook,
        status=201,
        errors=(404,),
        shown_once="path",
    ),
)
async def create_hook(
    admin: Admin,
    principal: Principal,
    project: InPath,
    flag: InPath,
    environment: InPath,
    data: JSONBody[CreateHook],
) -> NewHook:
    target = Target(project, flag, environment)
    return new_hook_view(await admin.hooks.create(target, data.name, intent(principal, "")))


@delete(
    "/{hook:str}",
    **writing(
        "delete_hook",
        "Delete a hook, whose URL does nothing from then on",
        role="editor",
        scope="environment",
        status=204,
        errors=(404,),
    ),
)
async def delete_hook(
    admin: Admin, principal: Principal, project: InPath, flag: InPath, environment: InPath, hook: InPath
) -> None:
    await admin.hooks.delete(Target(project, flag, environment), hook, intent(principal, ""))


hook_routes = Router(
    path="/projects/{project:str}/flags/{flag:str}/environments/{environment:str}/hooks",
    tags=["hooks"],
    route_handlers=[list_hooks, create_hook, delete_hook],
)
