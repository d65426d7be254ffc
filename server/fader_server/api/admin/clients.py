"""Connected SDK processes, and how far each revision has come among them."""

import math
from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from fader_server.api.admin.client_views import AcknowledgementsView, ClientView, acknowledgements_view, client_view
from fader_server.api.admin.operations import Cursor, Limit, operation, page_of, position_of
from fader_server.api.admin.services import Admin, InPath
from fader_server.api.admin.views import Page
from fader_server.clients.tally import State
from fader_server.errors import NotFound


@get(
    "/acknowledgements",
    **operation(
        "get_acknowledgements",
        "How many SDKs have applied a revision",
        role="viewer",
        scope="environment",
        errors=(404,),
    ),
)
async def get_acknowledgements(
    admin: Admin,
    project: InPath,
    environment: InPath,
    revision: Annotated[int | None, QueryParameter(ge=0, description="By default, the newest.")] = None,
) -> AcknowledgementsView:
    feed = await admin.distributor.feed(project, environment)
    if revision is not None and revision > feed.version.revision:
        await feed.catch_up(revision)
        if revision > feed.version.revision:
            newest = feed.version.revision
            raise NotFound(f"There is no revision {revision} of {environment!r} yet; the newest is {newest}.")
    wanted = feed.version.revision if revision is None else revision
    epoch = feed.version.epoch
    found = admin.gathering.acknowledgements(project, environment, epoch, wanted)
    return acknowledgements_view(project, environment, epoch, wanted, found, admin.clock().timestamp())


@get("/clients", **operation("list_clients", "List SDK processes", role="viewer", scope="environment", errors=(404,)))
async def list_clients(
    admin: Admin,
    project: InPath,
    environment: InPath,
    only: Annotated[State | None, QueryParameter(name="state", description="Only those in this state.")] = None,
    before: Annotated[
        int | None, QueryParameter(ge=0, description="Only those that do not have this revision yet.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ClientView]:
    await admin.distributor.feed(project, environment)  # refuses one that there is not
    last = position_of(cursor)
    revision = math.inf if before is None else before
    views = [
        client_view(listed)
        for listed in await admin.gathering.clients(project, environment)
        if only in (None, listed.client.state) and listed.client.revision < revision
    ]
    following = [view for view in views if view.position > last]
    return page_of(following[: limit + 1], limit, lambda view: view.position)


client_routes = Router(
    path="/projects/{project:str}/environments/{environment:str}",
    tags=["clients"],
    route_handlers=[get_acknowledgements, list_clients],
)
