"""Who you are; projects and their environments."""

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import JSONBody

from fader_server import __version__
from fader_server.api.admin.operations import (
    Cursor,
    Limit,
    ReasonParameter,
    intent,
    operation,
    page_of,
    position_of,
    writing,
)
from fader_server.api.admin.requests import CreateEnvironment, CreateProject, DescribeProject
from fader_server.api.admin.services import Admin, InPath, Principal
from fader_server.api.admin.views import Environment, Identity, Page, Project, environment_view
from fader_server.flags.lookup import existing_environment, existing_project
from fader_server.storage import environments


@get("/whoami", **operation("whoami", "Who the token belongs to", role="viewer", scope="server"))
async def whoami(principal: Principal) -> Identity:
    return Identity(
        name=principal.name,
        role=principal.role,
        projects=principal.projects,
        environments=principal.environments,
        server_version=__version__,
    )


@get("/projects", **operation("list_projects", "List projects", role="viewer", scope="server"))
async def list_projects(admin: Admin, principal: Principal, limit: Limit = 100, cursor: Cursor = None) -> Page[Project]:
    async with admin.store.read() as connection:
        found = await environments.projects(connection, position_of(cursor))
    visible = [project for project in found if principal.may_enter_project(project.key)]
    views = [msgspec.convert(project, Project, from_attributes=True) for project in visible[: limit + 1]]
    return page_of(views, limit, lambda project: project.key)


@post(
    "/projects",
    **writing(
        "create_project",
        "Create a project, with development, staging and production",
        role="admin",
        scope="whole server",
        body=CreateProject,
        status=201,
        errors=(409,),
    ),
)
async def create_project(admin: Admin, principal: Principal, data: JSONBody[CreateProject]) -> Project:
    project = await admin.projects.create(data.key, data.description, intent(principal, data.reason))
    return msgspec.convert(project, Project, from_attributes=True)


@get(
    "/projects/{project:str}",
    **operation("get_project", "Get a project", role="viewer", scope="project", errors=(404,)),
)
async def get_project(admin: Admin, project: InPath) -> Project:
    async with admin.store.read() as connection:
        found = await existing_project(connection, project)
    return msgspec.convert(found, Project, from_attributes=True)


@patch(
    "/projects/{project:str}",
    **writing(
        "describe_project",
        "Change a project's description",
        role="admin",
        scope="whole project",
        body=DescribeProject,
        errors=(404,),
    ),
)
async def describe_project(
    admin: Admin, principal: Principal, project: InPath, data: JSONBody[DescribeProject]
) -> Project:
    described = await admin.projects.describe(project, data.description, intent(principal, data.reason))
    return msgspec.convert(described, Project, from_attributes=True)


@delete(
    "/projects/{project:str}",
    **writing(
        "delete_project",
        "Delete a project whose flags are all archived, with everything in it",
        role="admin",
        scope="whole project",
        status=204,
        errors=(404, 409),
    ),
)
async def delete_project(admin: Admin, principal: Principal, project: InPath, reason: ReasonParameter = "") -> None:
    await admin.projects.delete(project, intent(principal, reason))


@get(
    "/projects/{project:str}/environments",
    **operation("list_environments", "List environments", role="viewer", scope="project", errors=(404,)),
)
async def list_environments(
    admin: Admin, principal: Principal, project: InPath, limit: Limit = 100, cursor: Cursor = None
) -> Page[Environment]:
    after = position_of(cursor)
    async with admin.store.read() as connection:
        await existing_project(connection, project)
        states = await environments.states(connection, project)
    visible = [state for state in states if state.key > after and principal.may_enter_environment(state.key)]
    return page_of([environment_view(state) for state in visible], limit, lambda environment: environment.key)


@post(
    "/projects/{project:str}/environments",
    **writing(
        "create_environment",
        "Create an environment, in which all flags are off",
        role="admin",
        scope="whole project",
        body=CreateEnvironment,
        status=201,
        errors=(404, 409),
    ),
)
async def create_environment(
    admin: Admin, principal: Principal, project: InPath, data: JSONBody[CreateEnvironment]
) -> Environment:
    return environment_view(await admin.projects.create_environment(project, data.key, intent(principal, data.reason)))


@get(
    "/projects/{project:str}/environments/{environment:str}",
    **operation("get_environment", "Get an environment", role="viewer", scope="environment", errors=(404,)),
)
async def get_environment(admin: Admin, project: InPath, environment: InPath) -> Environment:
    async with admin.store.read() as connection:
        return environment_view(await existing_environment(connection, project, environment))


@delete(
    "/projects/{project:str}/environments/{environment:str}",
    **writing(
        "delete_environment",
        "Delete an environment with its keys and all that is configured in it",
        role="admin",
        scope="environment",
        status=204,
        errors=(404,),
    ),
)
async def delete_environment(
    admin: Admin,
    principal: Principal,
    project: InPath,
    environment: InPath,
    reason: ReasonParameter = "",
) -> None:
    await admin.projects.delete_environment(project, environment, intent(principal, reason))


identity_routes = Router(path="/", route_handlers=[whoami], tags=["identity"])
project_routes = Router(
    path="/",
    tags=["projects"],
    route_handlers=[list_projects, create_project, get_project, describe_project, delete_project],
)
environment_routes = Router(
    path="/",
    tags=["environments"],
    route_handlers=[list_environments, create_environment, get_environment, delete_environment],
)
