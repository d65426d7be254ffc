"""``POST /sdk/v1/ack`` and ``/goodbye``: what a process says of itself. One short message for each connection and
revision; ten thousand may come within two seconds."""

from typing import Annotated, Final

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Meta, Struct

from fader_server.api.bodies import StrictBody
from fader_server.api.sdk.services import SdkServices, printable
from fader_server.clients.tally import Acknowledged

ACK_PATH: Final = "/sdk/v1/ack"

Instance = Annotated[str, Meta(min_length=1, max_length=128)]
Node = Annotated[str, Meta(max_length=256)]


class AckBody(Struct, frozen=True, kw_only=True):
    """A process evaluates with a revision now, or refuses it. Fields that are not known are ignored: a newer SDK may
    say more."""

    instance: Instance
    epoch: Annotated[str, Meta(max_length=64)]
    revision: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    applied: bool = True
    held_ms: Annotated[float, Meta(ge=0, le=3_600_000)] = 0.0
    error: Annotated[str, Meta(max_length=1_000)] = ""
    node: Node = ""

    def said(self) -> Acknowledged:
        """It, as it is passed on."""
        return Acknowledged(
            instance=self.instance,
            epoch=self.epoch,
            revision=self.revision,
            held_ms=self.held_ms,
            error=None if self.applied else printable(self.error) or "it does not say why",
        )


class GoodbyeBody(Struct, frozen=True, kw_only=True):
    """A process ends, or closes its client."""

    instance: Instance
    node: Node = ""


@post(
    ACK_PATH,
    dto=StrictBody[AckBody],
    status_code=204,
    summary="Acknowledge a revision",
    tags=["sdk"],
    operation_id="acknowledge",
    include_in_schema=False,
)
async def acknowledge(data: JSONBody[AckBody], request: Request[object, object, State]) -> Response[None]:
    """A process says which revision it evaluates with."""
    services: SdkServices = request.app.state.sdk
    principal = await services.access.sdk_principal(request.headers.get("authorization"))
    services.gathering.acknowledged(principal.project, principal.environment, data.said(), data.node)
    return Response(None, status_code=204)


@post(
    "/sdk/v1/goodbye",
    dto=StrictBody[GoodbyeBody],
    status_code=204,
    summary="Say goodbye",
    tags=["sdk"],
    operation_id="sayGoodbye",
    include_in_schema=False,
)
async def say_goodbye(data: JSONBody[GoodbyeBody], request: Request[object, object, State]) -> Response[None]:
    """A process says that it ends, so that nobody waits for it."""
    services: SdkServices = request.app.state.sdk
    principal = await services.access.sdk_principal(request.headers.get("authorization"))
    services.gathering.said_goodbye(principal.project, principal.environment, data.instance, data.node)
    return Response(None, status_code=204)
