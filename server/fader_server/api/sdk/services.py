"""What the handlers call, and how they find out who calls them.

Headers are read by hand: the framework's view of a request takes longer to build than the whole answer.
"""

from collections.abc import Iterable
from typing import Final

from litestar.exceptions import MethodNotAllowedException
from litestar.types import Scope
from msgspec import Struct

from fader_server.access import Access, SdkPrincipal
from fader_server.api.admission import Admission
from fader_server.clients import Gathering, Identity
from fader_server.distribution import Distributor, Feed
from fader_server.telemetry import Metrics

_STALE: Final = ((b"fader-stale", b"true"),)
_LONGEST_NAME: Final = 128


class SdkServices(Struct, frozen=True):
    """All of it, ready to use."""

    access: Access
    distributor: Distributor
    gathering: Gathering
    admission: Admission
    metrics: Metrics
    heartbeat_seconds: float


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name. Several lines of a name are one list (RFC 9110, section 5.3); of what is no list, nothing that
    makes sense."""
    asked: dict[bytes, bytes] = {}
    for name, value in pairs:
        asked[name] = b"%s,%s" % (asked[name], value) if name in asked else value
    return asked


async def admit(scope: Scope) -> tuple[SdkServices, dict[bytes, bytes], Feed, SdkPrincipal]:
    """Who is asking, with which headers, and for which environment.

    Raises:
        MethodNotAllowedException: if it is something else than reading.
        FaderError: if there is no key that lets in, or no environment, or nobody can say at the moment.
    """
    if method_of(scope) not in {"GET", "HEAD"}:
        raise MethodNotAllowedException(headers={"Allow": "GET, HEAD"})
    services: SdkServices = scope["litestar_app"].state.sdk
    asked = headers_of(scope["headers"])
    authorization = asked.get(b"authorization")
    principal = await services.access.sdk_principal(None if authorization is None else authorization.decode("latin-1"))
    return services, asked, await services.distributor.feed(principal.project, principal.environment), principal


def instance_of(asked: dict[bytes, bytes]) -> str:
    """The name of a process, which no other has; empty if it does not give it."""
    return _text(asked, b"fader-instance") if b"fader-instance" in asked else ""


def identity_of(asked: dict[bytes, bytes]) -> Identity | None:
    """What a process says of itself; ``None`` if it does not give its name."""
    instance = instance_of(asked)
    if not instance:
        return None
    sdk, _, version = _text(asked, b"user-agent").partition(" ")[0].partition("/")
    return Identity(instance, _text(asked, b"fader-app"), _text(asked, b"fader-host"), sdk, version)


def node_of(asked: dict[bytes, bytes]) -> str:
    """The node that a process had its last stream from; empty if it does not say."""
    return _text(asked, b"fader-node")


def printable(text: str) -> str:
    """What a client says, as it can be shown in a terminal: without control characters."""
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text).strip()


def staleness(services: SdkServices) -> tuple[tuple[bytes, bytes], ...]:
    """Says so where there may be newer changes that this server cannot see, because the database is away."""
    return () if services.distributor.is_current else _STALE


def method_of(scope: Scope) -> str:
    """The request's method."""
    method: str = scope["method"]  # type: ignore[typeddict-item]
    return method


def _text(asked: dict[bytes, bytes], name: bytes) -> str:
    # Kept for as long as the client is there: not too much of it.
    return printable(asked.get(name, b"")[:_LONGEST_NAME].decode("utf-8", "replace"))
