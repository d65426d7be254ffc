"""SDK keys and admin tokens. A secret is in the answer that creates it, and nowhere else ever."""

from litestar import Router, delete, get, post
from litestar.params import JSONBody

from fader_server.api.admin.operations import Cursor, Limit, operation, page_of, position_of, writing
from fader_server.api.admin.requests import IssueKey, IssueToken
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import (
    Key,
    NewKey,
    NewToken,
    Page,
    Token,
    key_view,
    new_key_view,
    new_token_view,
    token_view,
)
from fader_server.api.guards import refuse_environment
from fader_server.flags.lookup import existing_project
from fader_server.storage import keys


@get(
    "/projects/{project:str}/keys",
    **operation("list_keys", "List SDK keys", role="admin", scope="project", errors=(404,)),
)
async def list_keys(
    admin: Admin, principal: Principal, project: InPath, limit: Limit = 100, cursor: Cursor = None
) -> Page[Key]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        found = await keys.keys(connection, project, environments=principal.environments, after=after, limit=limit + 1)
    return page_of([key_view(key) for key in found], limit, lambda key: key.id)


@post(
    "/projects/{project:str}/keys",
    **writing(
        "create_key",
        "Create an SDK key or a client key for an environment",
        role="admin",
        scope="project",
        body=IssueKey,
        status=201,
        errors=(404,),
        shown_once="secret",
    ),
)
async def create_key(admin: Admin, principal: Principal, project: InPath, data: JSONBody[IssueKey]) -> NewKey:
    refuse_environment(principal, data.environment)
    issued = await admin.credentials.issue_key(project, data.environment, data.name, data.expires_at, data.kind)
    return new_key_view(issued)


@delete(
    "/projects/{project:str}/keys/{key:str}",
    **writing(
        "revoke_key",
        "Revoke an SDK key, and end the streams that use it",
        role="admin",
        scope="project",
        status=204,
        errors=(404,),
    ),
)
async def revoke_key(admin: Admin, principal: Principal, project: InPath, key: InPath) -> None:
    await admin.credentials.revoke_key(project, key, lambda found: refuse_environment(principal, found.environment))


@get("/tokens", **operation("list_tokens", "List admin tokens", role="admin", scope="whole server"))
async def list_tokens(admin: Admin, limit: Limit = 100, cursor: Cursor = None) -> Page[Token]:
    async with admin.store.read() as connection:
        found = await keys.tokens(connection, after=position_of(cursor), limit=limit + 1)
    return page_of([token_view(token) for token in found], limit, lambda token: token.id)


@post(
    "/tokens",
    **writing(
        "create_token",
        "Create an admin token",
        role="admin",
        scope="whole server",
        body=IssueToken,
        status=201,
        shown_once="secret",
    ),
)
async def create_token(admin: Admin, data: JSONBody[IssueToken]) -> NewToken:
    issued = await admin.credentials.issue_token(
        data.name,
        data.role,
        projects=data.projects,
        environments=data.environments,
        expires_at=data.expires_at,
    )
    return new_token_view(issued)


@delete(
    "/tokens/{token:str}",
    **writing("delete_token", "Delete an admin token", role="admin", scope="whole server", status=204, errors=(404,)),
)
async def delete_token(admin: Admin, token: InPath) -> None:
    await admin.credentials.delete_token(token)


key_routes = Router(path="/", tags=["keys"], route_handlers=[list_keys, create_key, revoke_key])
token_routes = Router(path="/", tags=["tokens"], route_handlers=[list_tokens, create_token, delete_token])
