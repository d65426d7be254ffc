"""Who may call what: each operation declares it (:func:`may`), and one guard holds everybody to it."""

from typing import Any, Final, Literal, TypeAlias

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from fader_server.access import Access, AdminPrincipal
from fader_server.errors import Forbidden
from fader_server.storage.records import Role

Scope: TypeAlias = Literal["server", "whole server", "project", "whole project", "environment"]
"""What an operation touches.

``server``: nothing in particular; the answer holds what the token may see.
``whole server``: everything, so the token must not be limited to projects or environments.
``project``: the project in the path.
``whole project``: all environments of the project in the path, so the token must not be limited to some.
``environment``: the environment in the path, of the project in the path.
"""


class Needs(Struct, frozen=True):
    """What a token must have for an operation."""

    role: Role
    scope: Scope

    @property
    def words(self) -> str:
        """For the description of the operation."""
        where = {
            "server": "what the answer holds is limited to the token's projects and environments",
            "whole server": "the token must not be limited to projects or environments",
            "project": "the project must be in the token's scope",
            "whole project": "the project must be in the token's scope, and all its environments as well",
            "environment": "the project and the environment must be in the token's scope",
        }[self.scope]
        return f"Needs the role {self.role}; {where}."


OPTION: Final = "needs"
"""The key of a route's options under which its :class:`Needs` are found."""


def may(role: Role, scope: Scope) -> dict[str, Any]:
    """Options of a route: whoever has this role (or a greater one) may, if the token's scope covers what it
    touches."""
    return {OPTION: Needs(role, scope)}


async def authorise(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Let the request in, and leave the principal with it (``request.auth``); before its body is even looked
    at.

    Raises:
        Unauthorized: without a valid token.
        Forbidden: if the token may not do this.
    """
    needs = route.opt.get(OPTION)
    if not isinstance(needs, Needs):
        if connection.scope.get("method") == "OPTIONS":  # the framework's own: says which methods there are
            return
        raise RuntimeError(f"{route} does not say who may call it")
    access: Access = connection.app.state.admin.access
    principal = await access.admin_principal(connection.headers.get("authorization"))
    connection.scope["auth"] = principal
    connection.scope["user"] = principal.name
    _refuse_role(principal, needs.role)
    path = connection.path_params
    if needs.scope == "whole server" and (principal.projects or principal.environments):
        raise Forbidden("This concerns the whole server, and your token is limited to parts of it.")
    if needs.scope in ("project", "whole project", "environment"):
        refuse_project(principal, path["project"])
    if needs.scope == "whole project" and principal.environments:
        raise Forbidden(
            "This changes all environments of the project, and your token is limited to "
            f"{', '.join(principal.environments)}."
        )
    if needs.scope == "environment":
        refuse_environment(principal, path["environment"])


def refuse_project(principal: AdminPrincipal, project: str) -> None:
    """End here if the project is out of the token's scope."""
    if not principal.may_enter_project(project):
        raise Forbidden(f"Your token {principal.name!r} is not for project {project!r}.")


def refuse_environment(principal: AdminPrincipal, environment: str) -> None:
    """End here if the environment is out of the token's scope."""
    if not principal.may_enter_environment(environment):
        raise Forbidden(f"Your token {principal.name!r} is not for environment {environment!r}.")


def _refuse_role(principal: AdminPrincipal, role: Role) -> None:
    if not principal.is_at_least(role):
        detail = f"This needs the role {role}, and your token {principal.name!r} has the role {principal.role}."
        raise Forbidden(detail, reason="role")
