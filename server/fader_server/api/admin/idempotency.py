"""``Idempotency-Key``: a write that is sent again with the key of its first try is applied once, and answered alike.

The draft that this follows: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/. Where it
leaves a choice: keys are optional, they belong to the admin token that they came with, and only successes are kept;
whatever was refused has changed nothing, so trying it again is deciding it anew.

The way of a request: :class:`AnswersKept` lets it in, and keeps its answer back. Behind the guard, :func:`holding`
says what becomes of the transaction that the command writes in: it is left open. When the answer is known, both are
committed together, and only then is the answer sent.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, OpenAPIType, Operation, Parameter, Schema
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from fader_server.access import AdminPrincipal
from fader_server.api.problems import problem_response, response_to
from fader_server.errors import FieldError, Invalid, SecretNotKept
from fader_server.storage.idempotency import AnsweredBefore, Attempt, HeldWrite, Holding, not_held
from fader_server.storage.records import Answer

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotency-Replayed"

SHOWN_ONCE: Final = "shown_once"
"""The key of a route's options under which the name of a field is found that its answer shows only once."""

_HEADER_BYTES: Final = HEADER.lower().encode()
_PATTERN: Final = r'^(?:"[!#-\[\]-~]{1,128}"|[!#-\[\]-~]{1,128})$'
_KEY: Final = re.compile(_PATTERN)
_STATE: Final = "held_write"


class AnswersKept(ASGIMiddleware):
    """Around a writing operation. A request without a key is served as if this were not here."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve a request."""
        if not any(name == _HEADER_BYTES for name, _ in scope["headers"]):
            await next_app(scope, receive, send)
            return
        messages: list[Message] = []

        async def keep_back(message: Message) -> None:
            messages.append(message)

        async with HeldWrite() as write:
            scope["state"][_STATE] = write
            await next_app(scope, receive, keep_back)
            if write.is_open:
                try:
                    await _commit(write, messages, scope)
                except Exception as error:  # noqa: BLE001 - the framework believes that it has answered already
                    messages.clear()
                    request: Request[Any, Any, Any] = Request(scope)
                    await response_to(request, error).to_asgi_response(None, request)(scope, receive, keep_back)
        for message in messages:
            await send(message)


async def _commit(write: HeldWrite, messages: list[Message], scope: Scope) -> None:
    answer = _answer(messages)
    if answer.status >= 300:
        return  # and so it is undone
    secret = scope["route_handler"].opt.get(SHOWN_ONCE)
    if secret is not None:
        document = msgspec.json.decode(answer.body)
        del document[secret]
        answer = msgspec.structs.replace(answer, body=msgspec.json.encode(document).decode())
    await write.commit(answer)


def _answer(messages: list[Any]) -> Answer:
    start, *parts = messages
    return Answer(
        status=start["status"],
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start["headers"]
            if name.lower() != b"content-length"
        ),
        body=b"".join(part.get("body", b"") for part in parts).decode(),
    )


async def holding(request: Request[str, AdminPrincipal, Any], now: datetime) -> Holding:
    """What becomes of the transaction that the command behind this request writes in.

    Raises:
        Invalid: if the request's key is none.
    """
    write: HeldWrite | None = request.scope["state"].get(_STATE)
    if write is None:
        return not_held
    return partial(write.hold, Attempt(request.auth.token_id, _key(request), await _fingerprint(request), now))


def _key(request: Request[Any, Any, Any]) -> str:
    # The draft makes it a string of structured fields, in quotation marks; many clients leave them out.
    given = request.headers.getall(HEADER)
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise Invalid.of(
            [FieldError(HEADER, "is not one key of 1 to 128 visible ASCII characters", "Such as a UUID, in quotes.")]
        )
    return given[0].strip('"')


async def _fingerprint(request: Request[Any, Any, Any]) -> str:
    parts = (
        request.method.encode(),
        request.scope["raw_path"],
        request.scope["query_string"],
        request.headers.get("If-Match", "").encode(),
        await request.body(),
    )
    # With the length of each before it, no two lists of parts are ever the same bytes.
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()


def answered_before(request: Request[Any, Any, Any], earlier: AnsweredBefore) -> Response[Any]:
    """Answer as to the first try. What the application has as a handler for :class:`AnsweredBefore`."""
    answer = earlier.answer
    if request.route_handler.opt.get(SHOWN_ONCE) is not None:
        made = msgspec.json.decode(answer.body)
        return problem_response(
            request,
            SecretNotKept(
                f"An earlier try of this request has made {made['name']!r} (id {made['id']}), and the answer to it, "
                "with the secret, went astray.",
                hint=f"Revoke {made['id']}, and make another one.",
            ),
        )
    return Response(
        answer.body.encode(),
        status_code=answer.status,
        headers=dict(answer.headers) | {REPLAYED_HEADER: "true"},
    )


@dataclass
class KeyedOperation(Operation):
    """How a writing operation is described: with what it takes and answers for the sake of keys."""

    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or ()),
            Parameter(
                name=HEADER,
                param_in="header",
                description="Drawn anew for each request, and the same in all tries of it: "
                "then it is applied once, and answered alike. Answers are kept for 24 hours.",
                schema=Schema(type=OpenAPIType.STRING, pattern=_PATTERN),
            ),
        ]
        for status, response in (self.responses or {}).items():
            if status.startswith("2") and isinstance(response, OpenAPIResponse):
                response.headers = dict(response.headers or {}) | {
                    REPLAYED_HEADER: OpenAPIHeader(
                        description="`true` if this was answered to an earlier try, and nothing was done now.",
                        schema=Schema(type=OpenAPIType.STRING, const="true"),
                    )
                }
