"""What the handlers call, and how they find out who calls them."""

from typing import Any, Final

from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from fader_server.access import Access
from fader_server.api.admission import Admission
from fader_server.evaluation import Evaluator, Evaluators

PREFIXES: Final = ("/api/frontend", "/api/proxy")

_EACH_FLAG: Final = 128
"""What a flag costs that is evaluated for somebody among all others, in bytes, whether or not it is on and written."""


class FrontendServices(Struct, frozen=True):
    """All of it, ready to use."""

    access: Access
    admission: Admission
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


def admit_all_flags(request: Request[Any, Any, State], evaluator: Evaluator) -> None:
    """Let somebody ask for all flags, which takes the longer the more there are, also if nothing has changed.

    Raises:
        TooManyRequests: if more is asked for than there is time for beside everybody else.
    """
    services: FrontendServices = request.app.state.frontend
    services.admission.evaluation(_EACH_FLAG * len(evaluator.flags.snapshot.flags))
