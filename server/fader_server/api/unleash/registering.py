"""``POST /api/client/register``: a process with an Unleash SDK says what it is when it starts."""

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from msgspec import Struct

from fader_server.api.unleash.bodies import LenientBody
from fader_server.api.unleash.identities import instance_name, shortened
from fader_server.api.unleash.services import UnleashServices


class Registration(Struct, frozen=True, kw_only=True, rename="camel"):
    """What of it is of interest; there is much more, different from SDK to SDK."""

    app_name: str | None = None
    instance_id: str | None = None
    connection_id: str | None = None
    sdk_version: str | None = None


@post(
    "/api/client/register",
    dto=LenientBody[Registration],
    status_code=202,
    operation_id="registerUnleashClient",
    include_in_schema=False,
)
async def register(data: JSONBody[Registration], request: Request[object, object, State]) -> Response[bytes]:
    """Remember which SDK a process has."""
    services: UnleashServices = request.app.state.unleash
    await services.sdk.access.sdk_principal(request.headers.get("authorization"))
    introduce(services, data)
    return Response(b"", status_code=202)


def introduce(services: UnleashServices, registration: Registration) -> None:
    """Remember what a process, or a proxy for it, has said."""
    name = instance_name(
        shortened(registration.connection_id or ""),
        shortened(registration.app_name or ""),
        shortened(registration.instance_id or ""),
    )
    services.introductions.introduce(name, shortened(registration.sdk_version or ""))
