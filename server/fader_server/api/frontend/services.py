"""What the handlers call, and how they find out who calls them."""

from typing import Any, Final

from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from fader_server.access import Access
from fader_server.evaluation import Evaluator, Evaluators

PREFIXES: Final = ("/api/frontend", "/api/proxy")


class FrontendServices(Struct, frozen=True):
    """All of it, ready to use."""

    access: Access
    evaluators: Evaluators


async def evaluator_for(request: Request[Any, Any, State]) -> Evaluator:
    """What evaluates the flags of the environment that the key of a request is for.

    Raises:
        Unauthorized: without a key, or with one that is not good.
        Forbidden: with anything but a client key.
        Unavailable: if nobody can say at the moment.
    """
    services: FrontendServices = request.app.state.frontend
    principal = await services.access.evaluation_principal(request.headers.get("authorization"), kinds=("client",))
    return await services.evaluators.of(principal.project, principal.environment)
