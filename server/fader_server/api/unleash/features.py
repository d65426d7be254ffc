"""``GET /api/client/features``: what Unleash's SDKs poll. Bare ASGI, as our own snapshot is."""

from typing import Final

from litestar import Request, Response, asgi, get
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from fader_server.api.sdk.encoded import EncodedDocuments, holds
from fader_server.api.sdk.services import admit, headers_of, staleness
from fader_server.api.unleash.identities import dialect_in, name_of
from fader_server.api.unleash.queries import ALL, Selection
from fader_server.api.unleash.services import UnleashServices
from fader_server.api.unleash.steering import FETCH_MODE
from fader_server.api.unleash.tags import is_ahead, version_held
from fader_server.api.unleash.views import query_of
from fader_server.distribution.feed import Encoded
from fader_server.errors import NotFound

FEATURES_PATH: Final = "/api/client/features"
FEATURES: Final = EncodedDocuments(
    ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept-Encoding, Unleash-Client-Spec"))
)


@asgi(FEATURES_PATH, copy_scope=True)
async def features(scope: Scope, receive: Receive, send: Send) -> None:
    """All features of the key's environment, or some of them; 304 if the SDK has them already."""
    del receive
    _, asked, feed, principal = await admit(scope)
    services: UnleashServices = scope["litestar_app"].state.unleash
    dialect, view = dialect_in(asked), services.views.of(feed)
    selection = Selection.of(scope["query_string"])
    names = None if selection == ALL else await services.selected(principal.project, selection)
    if_none_match = asked.get(b"if-none-match", b"")
    held = version_held(if_none_match, query_of(dialect, selection, names))
    if is_ahead(held, feed.version):
        await feed.come_together(held)
    encoded = await (view.encoded(dialect) if names is None else view.encoded_some(dialect, selection, names))
    headers = list(staleness(services.sdk))
    # Nobody is sent back to where they come from.
    is_held = holds(if_none_match, encoded.etag) or is_ahead(held, encoded.version)
    if is_held and _is_to_stream(services, asked, encoded):
        headers.append(FETCH_MODE)
        is_held = False
    await FEATURES.send(scope, send, services.sdk, asked, encoded, headers, is_held=is_held)
    services.note_poll(principal, asked, encoded.version)


@get("/api/client/features/{name:str}", operation_id="getUnleashFeature", include_in_schema=False)
async def feature(name: FromPath[str], request: Request[object, object, State]) -> Response[bytes]:
    """One feature."""
    services: UnleashServices = request.app.state.unleash
    principal = await services.sdk.access.sdk_principal(request.headers.get("authorization"))
    view = services.views.of(await services.sdk.distributor.feed(principal.project, principal.environment))
    await view.begin()
    piece = view.feature(name, dialect_in(headers_of(request.scope["headers"])))
    if piece is None:
        raise NotFound(f"There is no feature {name!r}.")
    return Response(bytes(piece), media_type="application/json")


def _is_to_stream(services: UnleashServices, asked: dict[bytes, bytes], encoded: Encoded) -> bool:
    """Whether to ask a process that has everything to open a stream. The answer to it holds everything once more, so
    that is done as far as there is room for it."""
    steering, name = services.steering, name_of(asked)
    if not steering.is_due(asked, name) or services.sdk.distributor.is_closing:
        return False
    if not services.sdk.admission.has_room_for_snapshot(len(encoded.plain)):
        return False
    steering.note(name)
    return True
