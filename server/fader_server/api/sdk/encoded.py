"""Documents that exist as bytes, and how they are sent: with the version as their tag, compressed where that is wanted,
or not at all to who has them already. By a route, or by a connection itself (``shortcut``)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from litestar.types import Scope, Send

from fader_server.api.request_log import request_id_of
from fader_server.api.sdk.services import SdkServices, method_of
from fader_server.api.shortcut import Answer
from fader_server.distribution.feed import Encoded

_PLAIN: Final = b"content-type: application/json\r\ncontent-length: %d\r\n"
_GZIPPED: Final = b"content-encoding: gzip\r\n" + _PLAIN


class EncodedDocuments:
    """Those of one kind.

    Args:
        headers: What every answer has besides its tag.
    """

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._headers = headers
        fields = b"".join(b"%b: %b\r\n" % field for field in headers)
        self._fields = b"etag: %b\r\n" + fields + b"x-request-id: %b\r\n"

    async def send(
        self,
        scope: Scope,
        send: Send,
        services: SdkServices,
        asked: Mapping[bytes, bytes],
        encoded: Encoded,
        more: Iterable[tuple[bytes, bytes]] = (),
        *,
        is_held: bool,
    ) -> None:
        """Answer a request.

        Args:
            scope: The request's.
            send: Its answer.
            services: What is asked whether so much may be sent now.
            asked: Its headers.
            encoded: The document.
            more: Further headers.
            is_held: Whether whoever asks has it already.

        Raises:
            Busy: not now.
        """
        headers = [(b"etag", encoded.etag), *self._headers, *more]
        if is_held:
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
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})
        services.metrics.snapshot_sent(len(content))

    def at_once(
        self, services: SdkServices, asked: Mapping[bytes, bytes], encoded: Encoded, *, is_held: bool
    ) -> Answer | None:
        """The same from a connection itself; ``None`` if it cannot be sent now."""
        fields = self._fields % (encoded.etag, request_id_of(asked).encode())
        if is_held:
            return Answer(304, fields)
        is_gzip = takes_gzip(asked.get(b"accept-encoding", b""))
        content = encoded.gzipped if is_gzip else encoded.plain
        if not services.admission.lets_snapshot_in(len(content)):
            return None
        services.metrics.snapshot_sent(len(content))
        return Answer(200, fields + (_GZIPPED if is_gzip else _PLAIN) % len(content), content)


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
