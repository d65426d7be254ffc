"""``GET /sdk/v1/snapshot``. Bare ASGI: what it sends is bytes that exist already, and nothing should stand between
these and the socket."""

from typing import Final

from litestar import asgi
from litestar.types import Receive, Scope, Send

from fader_server.access import SdkPrincipal
from fader_server.api.sdk.services import SdkServices, admit, identity_of, instance_of, method_of, staleness
from fader_server.distribution.feed import Encoded

SNAPSHOT_PATH: Final = "/sdk/v1/snapshot"
SNAPSHOT_HEADERS: Final = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Accept-Encoding"),
)


@asgi(SNAPSHOT_PATH, copy_scope=True)
async def snapshot(scope: Scope, receive: Receive, send: Send) -> None:
    """All flags and segments of the key's environment; 304 if the client has them already."""
    del receive
    services, asked, feed, principal = await admit(scope)
    encoded = await feed.encoded()
    headers = [(b"etag", encoded.etag), *SNAPSHOT_HEADERS, *staleness(services)]
    if holds(asked.get(b"if-none-match", b""), encoded.etag):
        note_poll(services, principal, asked, encoded)
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    content = encoded.plain
    if takes_gzip(asked.get(b"accept-encoding", b"")):
        content = encoded.gzipped
        headers.append((b"content-encoding", b"gzip"))
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    if method_of(scope) == "HEAD":
        content = b""
    else:
        services.admission.snapshot(len(content))
        note_poll(services, principal, asked, encoded)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
    services.metrics.snapshot_sent(len(content))


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


def holds(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the client has this version already. Compared weakly: proxies that compress make tags weak."""
    if not if_none_match or if_none_match == etag:
        return bool(if_none_match)
    tags = {tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")}
    return etag in tags or b"*" in tags


def takes_gzip(accept_encoding: bytes) -> bool:
    """Whether an ``Accept-Encoding`` allows it: RFC 9110, 12.5.3."""
    weights = {}
    for choice in accept_encoding.lower().replace(b" ", b"").split(b","):
        coding, _, weight = choice.partition(b";q=")
        weights[coding] = weight or b"1"
    return weights.get(b"gzip", weights.get(b"*", b"0")).strip(b"0.") != b""
