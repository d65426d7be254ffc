"""Whether the process runs, and whether it can answer SDKs. Anybody may ask."""

from typing import Final, Literal

from litestar import Request, Response, get
from litestar.datastructures import State
from msgspec import Struct

from fader_server.distribution import Distributor


class Alive(Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(Struct, frozen=True):
    """Whether SDKs can be answered, and how the parts are.

    ``database`` is ``degraded`` while it does not answer: SDKs are then served from memory, and writes get 503.
    """

    status: Literal["ok", "degraded", "closing"]
    database: Literal["ok", "degraded"]
    streams: int


@get("/health/live", summary="Does the process run?", tags=["health"], operation_id="live", sync_to_thread=False)
def live() -> Alive:
    """200 for as long as the process can answer at all."""
    return Alive()


@get("/health/ready", summary="Can it answer SDKs?", tags=["health"], operation_id="ready", sync_to_thread=False)
def ready(request: Request[object, object, State]) -> Response[Ready]:
    """200 while SDKs can be answered; 503 from the moment a shutdown begins."""
    distributor: Distributor = request.app.state.distributor
    database: Literal["ok", "degraded"] = "ok" if distributor.is_current else "degraded"
    if distributor.is_closing:
        return Response(Ready("closing", database, distributor.streams), status_code=503)
    return Response(Ready(database, database, distributor.streams))


routes: Final = [live, ready]
