"""The paths of OFREP. Bare ASGI, in front of the framework: whoever asks for each flag and each user wants the answer,
and what the framework would do about it takes longer than the answer itself."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, cast
from urllib.parse import parse_qs

from litestar import Litestar
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from fader_server.access import SdkPrincipal
from fader_server.api.bodies import read_body
from fader_server.api.ofrep.asking import context_of, evaluation_context
from fader_server.api.ofrep.events import STREAM_PATH, event_stream, streams_for
from fader_server.api.ofrep.view import View
from fader_server.api.problems import send_problem, send_unexpected
from fader_server.api.sdk import SdkServices
from fader_server.api.sdk.encoded import holds
from fader_server.distribution.events import Version
from fader_server.errors import FaderError, MethodNotAllowed, NotFound
from fader_server.evaluation import Evaluator, Evaluators

PREFIX: Final = "/ofrep/"
_ALL: Final = "/ofrep/v1/evaluate/flags"
_ONE: Final = f"{_ALL}/"
_ONE_TEMPLATE: Final = f"{_ALL}/{{key}}"
_NEEDS_KEY: Final = b"fader-require-targeting-key"
_HEADERS: Final = ((b"content-type", b"application/json"), (b"cache-control", b"private, no-cache"))


class Ofrep:
    """ASGI middleware.

    Args:
        app: What is called for all other paths.
        litestar: Whose state has the services, once it has started.
        most_bytes: That a request may have.
        clock: The time, aware.
    """

    def __init__(self, app: ASGIApp, litestar: Litestar, most_bytes: int, clock: Callable[[], datetime]) -> None:
        self._app = app
        self._litestar = litestar
        self._most_bytes = most_bytes
        self._clock = clock

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a request. (Of one of another protocol nothing is kept here.)"""
        is_ours = str(scope["type"]) == "http" and scope["path"].startswith(PREFIX)
        return (self._serve if is_ours else self._app)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def begin(message: object) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)  # type: ignore[arg-type]

        try:
            await self._route(scope, receive, begin)
        except FaderError as error:
            if is_begun:
                raise
            await send_problem(scope, send, error, {})
        except Exception as error:
            if is_begun:
                raise
            await send_unexpected(scope, send, error)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        services: SdkServices = self._litestar.state.sdk
        if path == STREAM_PATH:
            scope["path_template"] = STREAM_PATH
            _refuse_other_methods(scope, "GET", "HEAD")
            await event_stream(services, scope, receive, send)
        elif path == _ALL:
            scope["path_template"] = _ALL
            _refuse_other_methods(scope, "POST")
            await self._answer_all(services, scope, receive, send)
        elif path.startswith(_ONE) and len(path) > len(_ONE):
            scope["path_template"] = _ONE_TEMPLATE
            _refuse_other_methods(scope, "POST")
            await self._answer_one(services, scope, receive, send)
        else:
            raise NotFound(f"There is nothing at {path}.")

    async def _answer_one(self, services: SdkServices, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        principal = await services.access.evaluation_principal(_credential(headers))
        sent = context_of(await read_body(scope, receive, self._most_bytes))
        context = evaluation_context(sent, needs_key=_wants(headers, _NEEDS_KEY))
        view = (await self._evaluators.of(principal.project, principal.environment)).once(View)
        answer = view.one(scope["path"].removeprefix(_ONE), context, principal)
        await _send(send, 200, [], answer)

    async def _answer_all(self, services: SdkServices, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        credential = _credential(headers)
        principal = await services.access.evaluation_principal(credential)
        sent = context_of(await read_body(scope, receive, self._most_bytes))
        context = evaluation_context(sent, needs_key=_wants(headers, _NEEDS_KEY))
        view = (await self._current(principal, scope["query_string"])).once(View)
        streams = streams_for(services.access.stream_token(credential or "", principal))
        etag = view.etag(sent, principal, streams, self._clock())
        if etag is not None and holds(headers.get(b"if-none-match", b""), etag):
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", etag), _HEADERS[1]]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        services.admission.evaluation(view.size)
        fields = [] if etag is None else [(b"etag", etag)]
        await _send(send, 200, fields, view.all(context, principal, streams))

    @property
    def _evaluators(self) -> Evaluators:
        found: Evaluators = self._litestar.state.evaluators
        return found

    async def _current(self, principal: SdkPrincipal, query: bytes) -> Evaluator:
        """The flags, of a version that is no older than what an event has announced to who asks."""
        if query:
            announced = parse_qs(query.decode("latin-1")).get("flagConfigEtag", [""])[0]
            version = Version.parse(announced)
            if version is not None:
                return await self._evaluators.at_least(principal.project, principal.environment, version)
        return await self._evaluators.of(principal.project, principal.environment)


def _credential(headers: dict[bytes, bytes]) -> str | None:
    found = headers.get(b"authorization") or headers.get(b"x-api-key")
    return None if found is None else found.decode("latin-1")


def _wants(headers: dict[bytes, bytes], name: bytes) -> bool:
    return headers.get(name, b"").lower() in (b"true", b"1")


def _refuse_other_methods(scope: Scope, *methods: str) -> None:
    method = cast("HTTPScope", scope)["method"]
    if method not in methods:
        raise MethodNotAllowed(f"{method} is not possible at {scope['path']}.", allowed=methods)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers += [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
