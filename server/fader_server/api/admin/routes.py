"""All of the admin API, as the application mounts it."""

from typing import Any, Final

from litestar import Request, Router
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from fader_server.access import AdminPrincipal
from fader_server.api.admin.clients import client_routes
from fader_server.api.admin.configurations import configuration_routes
from fader_server.api.admin.credentials import key_routes, token_routes
from fader_server.api.admin.explaining import explaining_routes
from fader_server.api.admin.exporting import export_routes
from fader_server.api.admin.flags import flag_routes
from fader_server.api.admin.history import history_routes
from fader_server.api.admin.hooks import hook_routes
from fader_server.api.admin.idempotency import answered_before
from fader_server.api.admin.importing import import_routes
from fader_server.api.admin.projects import environment_routes, identity_routes, project_routes
from fader_server.api.admin.ramps import ramp_list_routes, ramp_routes
from fader_server.api.admin.segment_members import member_routes
from fader_server.api.admin.segments import segment_routes
from fader_server.api.admin.services import admin_services
from fader_server.api.guards import authorise
from fader_server.storage.idempotency import AnsweredBefore


def _principal(request: Request[str, AdminPrincipal, Any]) -> AdminPrincipal:
    """Whom the guard has let in."""
    return request.auth


_ROUTERS: Final = (
    identity_routes,
    project_routes,
    environment_routes,
    flag_routes,
    configuration_routes,
    explaining_routes,
    ramp_routes,
    ramp_list_routes,
    hook_routes,
    segment_routes,
    member_routes,
    import_routes,
    export_routes,
    history_routes,
    client_routes,
    key_routes,
    token_routes,
)


def _without_options(router: Router) -> Router:
    """The framework answers OPTIONS with the methods of the first handler of a path, where several were
    registered one by one. Taken away here, it is made anew when all of them are mounted together, and then it
    names them all."""
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            route.route_handlers = [one for one in route.route_handlers if "OPTIONS" not in one.http_methods]
    return router


routes: list[ControllerRouterHandler] = [
    Router(
        path="/api/v1",
        guards=[authorise],
        exception_handlers={AnsweredBefore: answered_before},
        dependencies={
            "admin": Provide(admin_services),
            "principal": Provide(_principal, sync_to_thread=False),
        },
        route_handlers=[_without_options(router) for router in _ROUTERS],
    )
]
