"""How many requests one key or token may make; around the application, so that a request beyond costs next to nothing.

Who is known is told by the answers: a credential that was let in once has an allowance of its own (a client key has one
for each address). All that were not share that of one token, so that nobody who guesses keys, or floods the server with
made-up ones, keeps the database busy with them.
"""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec import Struct

from fader_server.access.credentials import CLIENT_PREFIX
from fader_server.api.client_allowances import ClientAllowances
from fader_server.api.problems import send_problem
from fader_server.api.request_log import is_probe
from fader_server.api.turnstile import Turnstile
from fader_server.errors import Busy, TooManyRequests
from fader_server.telemetry.catalogue import Limit

_WINDOW: Final = 10
"""Seconds whose allowance may be used at once."""

_LONGEST: Final = 60.0
"""Seconds that nobody is sent away for longer than."""

_REMEMBERED: Final = 10_000
"""Credentials with an allowance of their own."""

_CROWDED: Final = 5
"""Seconds after which to try again where there are too many connections."""

_OF_KEYS: Final = ("/sdk/", "/ofrep/", "/api/client", "/api/frontend", "/api/proxy")
"""What paths begin with that are asked with keys; all others are asked with admin tokens."""

_EVENTS: Final = "/ofrep/v1/stream"
_STREAMS: Final = ("/sdk/v1/stream", "/api/client/streaming", _EVENTS)
_OF_CLIENT_KEYS: Final = f".{CLIENT_PREFIX}".encode()

_OF_HOOKS: Final = "/hooks/"
_HOOK_RATE: Final = 10.0
"""Requests a second with the URL of one hook: alerts are repeated every few minutes."""

_Kind: TypeAlias = Literal["sdk", "client", "admin", "hook"]


class RequestRates(Struct, frozen=True, kw_only=True):
    """Requests a second, on average over ten seconds.

    Args:
        sdk: Of one SDK key.
        client: Of one client key, from one address.
        admin: Of one admin token.
    """

    sdk: float
    client: float
    admin: float


class RequestLimits:
    """ASGI middleware. Probes have no limit. Opening streams has one of its own (``admission``).

    Args:
        app: What is called for the rest.
        rates: How many requests.
        refused: Whom to tell of those beyond.
        clock: Seconds that do not go back.
    """

    def __init__(
        self,
        app: ASGIApp,
        rates: RequestRates,
        refused: Callable[[Limit], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._rates = rates
        self._refused = refused
        self._clock = clock
        self._known: dict[tuple[_Kind, int], Turnstile] = {}
        self._clients = ClientAllowances(lambda: self._allowance(rates.client))
        self._strangers = self._allowance(rates.admin)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request, or refuse it. (Of one that is served, and may be a stream, nothing is kept here.)"""
        if str(scope["type"]) != "http" or is_probe(scope):
            return self._app(scope, receive, send)
        if scope["state"].get("is_surplus"):
            self._refused("connections")
            crowded = Busy("This server has as many connections as it may have.", retry_after=_CROWDED)
            return send_problem(scope, send, crowded, {"Connection": "close"})
        path = cast("HTTPScope", scope)["path"]
        credential = _credential(scope)
        if credential[0] == "client":
            known = self._clients.of(credential[1], _host(scope))
        else:
            known = self._known.get(credential)
        if known is None:
            wait = self._strangers.enter(1.0, self._clock())
            if not wait:
                return self._app(scope, receive, self._introducing(credential, send))
            limit, rate = "strangers", self._rates.admin
        else:
            wait = 0.0 if path in _STREAMS else known.enter(1.0, self._clock())
            if not wait:
                return self._app(scope, receive, send)
            limit, rate = "requests_per_key", self._rate(credential[0])
        self._refused(cast("Limit", limit))
        retry_after = math.ceil(wait)
        beyond = TooManyRequests("There were too many requests with this key or token.", retry_after=retry_after)
        return send_problem(scope, send, beyond, _fields(limit, rate, retry_after))

    def lets_sdk_in(self, authorization: bytes, requests: float = 1.0) -> bool:
        """Whether this key is known here, and may make one more request; if so, that is counted.

        Args:
            authorization: The header that it came in.
            requests: What it counts as, for one that costs less than others.
        """
        known = self._known.get(("sdk", hash(authorization)))
        return known is not None and known.lets_in(requests, self._clock())

    def _rate(self, kind: _Kind) -> float:
        match kind:
            case "sdk":
                return self._rates.sdk
            case "client":
                return self._rates.client
            case "admin":
                return self._rates.admin
            case "hook":
                return _HOOK_RATE

    def _introducing(self, credential: tuple[_Kind, int], send: Send) -> Send:
        async def introduce(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._remember(credential)
            await send(message)

        return introduce

    def _remember(self, credential: tuple[_Kind, int]) -> None:
        kind, key = credential
        if kind == "client":
            self._clients.introduce(key)
            return
        if credential in self._known:
            return
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[credential] = self._allowance(self._rate(kind))

    def _allowance(self, rate: float) -> Turnstile:
        return Turnstile(rate, rate * _WINDOW, _LONGEST, self._clock())


def _credential(scope: Scope) -> tuple[_Kind, int]:
    """What a request is counted by.

    Where keys are looked up, their digests are compared. Here one that is mistaken for another shares its allowance, no
    more; and a secret need not be kept. Nor does it matter whether a key is what it looks like: if it is not, nobody
    is ever let in with it.
    """
    if scope["path"] == _EVENTS:
        return "sdk", hash(scope["query_string"])  # where the token is
    if scope["path"].startswith(_OF_HOOKS):
        return "hook", hash(scope["path"])  # where the secret is
    is_of_key = scope["path"].startswith(_OF_KEYS)
    names = (b"authorization", b"x-api-key") if is_of_key else (b"authorization",)
    given = next((value for name, value in scope["headers"] if name in names), b"")
    if not is_of_key:
        return "admin", hash(given)
    return "client" if _OF_CLIENT_KEYS in given else "sdk", hash(given)


def _host(scope: Scope) -> str:
    client = scope["client"]
    return client[0] if client else ""


def _fields(policy: str, rate: float, retry_after: int) -> dict[str, str]:
    """https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/"""
    return {
        "RateLimit-Policy": f'"{policy}";q={rate * _WINDOW:.0f};w={_WINDOW}',
        "RateLimit": f'"{policy}";r=0;t={retry_after}',
    }
