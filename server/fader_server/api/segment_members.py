"""For SDKs, ``/sdk/v1/members``: the long list that a segment names, in parts.

Bare ASGI, as everything that SDKs ask for by the thousand: what is sent is a slice of bytes that exist already.
"""

import re
from collections.abc import Iterable
from typing import Final, cast
from urllib.parse import parse_qs

from litestar import asgi
from litestar.exceptions import MethodNotAllowedException
from litestar.types import HTTPScope, Receive, Scope, Send
from msgspec import Struct

from fader.model import MemberList
from fader_server.access import Access, SdkPrincipal
from fader_server.api.admission import Admission
from fader_server.distribution import Distributor
from fader_server.distribution.member_lists import MemberLists, Since
from fader_server.errors import FieldError, Invalid, NotFound

_RANGE: Final = re.compile(rb"bytes=(\d{1,15})-(\d{0,15})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_FORMS: Final = {"version": _NUMBER, "digest": _DIGEST, "since": _NUMBER, "since_digest": _DIGEST}
_HEADERS: Final = (
    (b"content-type", b"application/octet-stream"),
    # A list at a version never changes, and belongs to whoever has a key.
    (b"cache-control", b"private, max-age=86400, immutable"),
    (b"vary", b"Authorization"),
    (b"accept-ranges", b"bytes"),
)


class MemberServices(Struct, frozen=True):
    """What the handler calls."""

    access: Access
    distributor: Distributor
    admission: Admission
    lists: MemberLists


class _Asked(Struct, frozen=True):
    """What somebody wants, and what they have."""

    segment: str
    list: str
    version: int
    digest: str
    since: Since | None


# The segment is in the query, for the framework has no parameters in the paths of bare ASGI routes.
@asgi("/sdk/v1/members", copy_scope=True)
async def segment_members(scope: Scope, receive: Receive, send: Send) -> None:
    """A part of a list, or of what leads to it from the version that the client has."""
    del receive
    method = cast("HTTPScope", scope)["method"]
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowedException(headers={"Allow": "GET, HEAD"})
    services: MemberServices = scope["litestar_app"].state.members
    headers = dict(scope["headers"])
    authorization = headers.get(b"authorization")
    principal = await services.access.sdk_principal(None if authorization is None else authorization.decode("latin-1"))
    asked = _read(scope["query_string"])
    wanted = await _wanted(services, principal, asked)
    content, kind = None, b"delta"
    if asked.since is not None:
        content = await services.lists.way(wanted, asked.since)
    if content is None:
        content, kind = await services.lists.whole(wanted), b"list"
    if content is None:
        raise NotFound(f"There is no version {asked.version} of this list.")
    tag = f'"{wanted.list}-{wanted.version}-{wanted.digest}-{kind.decode()}"'.encode()
    answered = [*_HEADERS, (b"etag", tag), (b"fader-members", kind)]
    if headers.get(b"if-none-match") == tag:
        await _send(send, 304, answered, b"")
        return
    first, last = _part(headers.get(b"range", b""), len(content))
    if first >= len(content) > 0:
        await _send(send, 416, [*answered, (b"content-range", b"bytes */%d" % len(content))], b"")
        return
    body = content[first : last + 1]
    if method == "GET":
        services.admission.members(len(body))
    status = 200
    if len(body) < len(content):
        status = 206
        answered.append((b"content-range", b"bytes %d-%d/%d" % (first, first + len(body) - 1, len(content))))
    answered.append((b"content-length", b"%d" % len(body)))
    await _send(send, status, answered, b"" if method == "HEAD" else body)


async def _wanted(services: MemberServices, principal: SdkPrincipal, asked: _Asked) -> MemberList:
    """The list, if it is that of a segment which the key lets see. The version is the client's word: it may have heard
    of a later one than this server, or still be busy with an earlier one."""
    feed = await services.distributor.feed(principal.project, principal.environment)
    segment = feed.snapshot.segments.get(asked.segment)
    if segment is None or segment.members is None or segment.members.list != asked.list:
        raise NotFound(f"Segment {asked.segment!r} has no such list.")
    named = segment.members
    if (named.version, named.digest) == (asked.version, asked.digest):
        return named
    found = await services.lists.described(asked.list, asked.version, asked.digest)
    if found is None:
        raise NotFound(f"There is no version {asked.version} of this list.")
    return found


def _read(query: bytes) -> _Asked:
    given = {name: values[0] for name, values in parse_qs(query.decode("latin-1")).items()}
    errors = [FieldError(name, "is missing") for name in ("segment", "list", "version", "digest") if name not in given]
    errors += [
        FieldError(name, "is not one")
        for name, form in _FORMS.items()
        if name in given and form.fullmatch(given[name]) is None
    ]
    if errors:
        raise Invalid.of(errors)
    since = Since(int(given["since"]), given.get("since_digest", "")) if "since" in given else None
    return _Asked(given["segment"], given["list"], int(given["version"]), given["digest"], since)


def _part(asked: bytes, size: int) -> tuple[int, int]:
    """The first and the last byte that are wanted; everything where that is not said, or not in a way that we know."""
    found = _RANGE.fullmatch(asked)
    if found is None:
        return 0, size - 1
    return int(found[1]), int(found[2]) if found[2] else size - 1


async def _send(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


routes: Final = [segment_members]
