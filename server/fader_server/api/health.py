"""Whether the process runs, and whether it can answer SDKs. Anybody may ask."""

from typing import Final, Literal, TypeAlias

from litestar import Request, Response, get
from litestar.datastructures import State
from msgspec import UNSET, Struct, UnsetType

from fader_server.distribution import Distributor

Health: TypeAlias = Literal["ok", "degraded", "none"]


class Alive(Struct, frozen=True):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(Struct, frozen=True):
    """Whether SDKs can be answered, and how the parts are.

    ``database`` is ``degraded`` while it does not answer: SDKs are then served from memory or from the standby's
    copies, and writes get 503. ``bus`` is ``degraded`` while Redis does not tell of other servers' changes, and they
    are looked up instead; ``standby`` while copies cannot be kept there. Both are ``none`` where there is no Redis,
    and other servers may write. ``streams`` are those of the process that answers: ``worker`` is its number, if it is
    one of several.
    """

    status: Literal["ok", "degraded", "starting", "closing"]
    database: Health
    bus: Health
    standby: Health
    streams: int
    worker: int | UnsetType = UNSET


@get("/health/live", summary="Does the process run?", tags=["health"], operation_id="live", sync_to_thread=False)
def live() -> Alive:
    """200 for as long as the process can answer at all."""
    return Alive()


@get("/health/ready", summary="Can it answer SDKs?", tags=["health"], operation_id="ready", sync_to_thread=False)
def ready(request: Request[object, object, State]) -> Response[Ready]:
    """200 while SDKs can be answered; 503 before that, and from the moment a shutdown begins."""
    distributor: Distributor = request.app.state.distributor
    database = _health(distributor.is_current)
    has_redis = distributor.has_standby is not None
    # Without Redis a node of several finds all changes by asking: that is how it was set up, and nothing is wrong.
    bus = _health(distributor.hears_all) if has_redis or distributor.hears_all else "none"
    standby = _health(bool(distributor.has_standby)) if has_redis else "none"
    status: Literal["ok", "degraded", "starting", "closing"]
    if distributor.is_closing:
        status = "closing"
    elif database == "degraded" and not distributor.feeds and standby != "ok":
        status = "starting"
    else:
        status = "degraded" if "degraded" in (database, bus, standby) else "ok"
    return Response(
        Ready(status, database, bus, standby, distributor.streams, request.app.state.worker),
        status_code=200 if status in ("ok", "degraded") else 503,
    )


def _health(is_well: bool) -> Health:
    return "ok" if is_well else "degraded"


routes: Final = [live, ready]
