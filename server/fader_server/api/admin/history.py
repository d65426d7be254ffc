"""The history: in pages, and as it happens."""

from typing import Annotated, Any, Final

from litestar import Request, Router, get
from litestar.params import QueryParameter
from litestar.response import Stream

from fader_server.access import AdminPrincipal
from fader_server.api.admin.following import followed_changes
from fader_server.api.admin.operations import Cursor, Limit, operation, page_of, position_of
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Change, Page, change_views
from fader_server.api.guards import refuse_environment, refuse_project
from fader_server.bus import RevisionHint
from fader_server.errors import FieldError, Invalid, Unauthorized, Unavailable
from fader_server.flags.lookup import existing_environment, existing_project
from fader_server.storage import changes, propagations
from fader_server.storage.records import ChangeKind, LoggedChange

_STREAM_HEADERS: Final = {
    # Neither caches nor compressing proxies may hold events back; the last one is nginx's own word for it.
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


@get(
    "/projects/{project:str}/changes",
    **operation("list_changes", "List changes, newest first", role="viewer", scope="project", errors=(404,)),
)
async def list_changes(
    admin: Admin,
    principal: Principal,
    project: InPath,
    environment: Annotated[str | None, QueryParameter(description="Only in this one.")] = None,
    flag: Annotated[str | None, QueryParameter(description="Only of the flag of this key.")] = None,
    segment: Annotated[str | None, QueryParameter(description="Only of the segment of this key.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Change]:
    if flag is not None and segment is not None:
        raise Invalid.of([FieldError("segment", "a change is of a flag or of a segment", "Leave one of them out.")])
    if environment is not None:
        refuse_environment(principal, environment)
    before = _number(position_of(cursor), "cursor") if cursor is not None else None
    kinds: tuple[ChangeKind, ...] = (
        ("flag", "ramp") if flag is not None else ("segment",) if segment is not None else ()
    )
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        logged = await changes.page(
            connection,
            project=project,
            environments=principal.environments if environment is None else (environment,),
            kinds=kinds,
            key=flag if flag is not None else segment,
            before=before,
            limit=limit + 1,
        )
        reached = [
            one
            for name in {change.environment for change in logged}
            for one in await propagations.of_revisions(
                connection, project, name, {change.revision for change in logged if change.environment == name}
            )
        ]
    return page_of(change_views(logged, reached), limit, lambda change: str(change.id))


@get(
    "/changes/stream",
    media_type="text/event-stream",
    **operation("stream_changes", "Follow changes as they happen", role="viewer", scope="server", errors=(404,)),
)
async def stream_changes(
    request: Request[str, AdminPrincipal, Any],
    admin: Admin,
    principal: Principal,
    project: Annotated[str | None, QueryParameter(description="Only in this one.")] = None,
    environment: Annotated[str | None, QueryParameter(description="Only in environments of this name.")] = None,
    clients: Annotated[
        bool, QueryParameter(description="Tell of SDK processes, too: who comes, goes, and has applied what.")
    ] = False,
) -> Stream:
    if project is not None:
        refuse_project(principal, project)
    if environment is not None:
        refuse_environment(principal, environment)
    await admin.store.ping()  # while the database is away, an error says more than a stream that ends at once
    seen = request.headers.get("last-event-id")
    since = None if seen is None else _number(seen, "Last-Event-ID")
    if project is not None:
        async with admin.store.read() as connection:
            await existing_project(connection, project)
            if environment is not None:
                await existing_environment(connection, project, environment)

    def wanted(of: LoggedChange | RevisionHint) -> bool:
        return (
            project in (None, of.project)
            and environment in (None, of.environment)
            and principal.may_enter_project(of.project)
            and principal.may_enter_environment(of.environment)
        )

    async def may_stay() -> bool:
        try:
            await admin.access.admin_principal(request.headers.get("authorization"))
        except (Unauthorized, Unavailable) as refused:
            return isinstance(refused, Unavailable)
        return True

    events = followed_changes(admin, since, wanted, may_stay, with_clients=clients)
    headers = _STREAM_HEADERS | {"Fader-Heartbeat": f"{admin.heartbeat_seconds:g}"}
    return Stream(events, headers=headers)


def _number(text: str, field: str) -> int:
    # As many digits as a number in the database can have.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid.of([FieldError(field, "is not the id of a change")])
    return int(text)


history_routes = Router(path="/", tags=["changes"], route_handlers=[list_changes, stream_changes])
