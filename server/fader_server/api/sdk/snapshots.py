"""``GET /sdk/v1/snapshot``. Bare ASGI: what it sends is bytes that exist already, and nothing should stand between
these and the socket."""

from typing import Final

from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.access import SdkPrincipal
from fader_server.api.sdk.encoded import EncodedDocuments, holds
from fader_server.api.sdk.services import SdkServices, admit, identity_of, instance_of, method_of, staleness
from fader_server.distribution.feed import Encoded

SNAPSHOT_PATH: Final = "/sdk/v1/snapshot"
SNAPSHOTS: Final = EncodedDocuments(
    ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Accept-Encoding"))
)


@asgi(SNAPSHOT_PATH, copy_scope=True)
async def snapshot(scope: Scope, receive: Receive, send: Send) -> None:
    """All flags and segments of the key's environment; 304 if the client has them already."""
    del receive
    services, asked, feed, principal = await admit(scope)
    encoded = await feed.encoded()
    is_held = holds(asked.get(b"if-none-match", b""), encoded.etag)
    await SNAPSHOTS.send(scope, send, services, asked, encoded, staleness(services), is_held=is_held)
    if method_of(scope) == "GET":
        note_poll(services, principal, asked, encoded)


def note_poll(services: SdkServices, principal: SdkPrincipal, asked: dict[bytes, bytes], encoded: Encoded) -> None:
    """Remember what a process that polls has been given."""
    instance = instance_of(asked)
    if not instance:
        return
    version = encoded.version
    given = principal.project, principal.environment, instance, version.epoch, version.revision
    # Who polls does so again and again, and is known by its name: what else it says is read once.
    if not services.gathering.polled_again(*given) and (identity := identity_of(asked)) is not None:
        services.gathering.polled(principal.project, principal.environment, identity, version.epoch, version.revision)
