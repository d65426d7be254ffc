"""Errors on the wire: for everything that goes wrong, from here and nowhere else. ``application/problem+json`` (RFC
9457), except on the paths of other protocols, which have forms of their own (``error_forms``).

Documented at https://www.rfc-editor.org/rfc/rfc9457.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.types import HTTPScope, Scope, Send

from fader_server.api.error_forms import Problem, error_body
from fader_server.api.shown import shown
from fader_server.errors import (
    FaderError,
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotFound,
    StillRunning,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)

_log = logging.getLogger(__name__)


def response_to(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Put any error on the wire: an answer by itself, where the framework cannot give it."""
    return problem_response(request, error) if isinstance(error, FaderError) else _of_anything(request, error)


def request_id(request: Request[Any, Any, Any]) -> str:
    """The id under which this request is logged; drawn here if nobody has given it one yet."""
    return _request_id(request.scope)


def problem_response(
    request: Request[Any, Any, Any], error: FaderError, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Put an error of ours on the wire."""
    _note_rejection(request.scope, error)
    media_type, body = error_body(request.scope["path"], _problem(error, request_id(request)))
    return Response(
        body,
        status_code=error.status,
        media_type=media_type,
        headers={**(headers or {}), **_fields(error)},
    )


async def send_problem(scope: Scope, send: Send, error: FaderError, headers: Mapping[str, str]) -> None:
    """Put an error of ours on the wire from where the framework is not: around it, or on a bare ASGI route."""
    _note_rejection(scope, error)
    media_type, body = error_body(scope["path"], _problem(error, _request_id(scope)))
    fields = {"Content-Type": media_type, "Content-Length": str(len(body)), **headers, **_fields(error)}
    encoded = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    if cast("HTTPScope", scope)["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_unexpected(scope: Scope, send: Send, error: Exception) -> None:
    """The same for what nobody thought of."""
    await send_problem(scope, send, _unexpected(scope, error), {})


def _request_id(scope: Scope) -> str:
    state: dict[str, Any] = scope.setdefault("state", {})
    found: str = state.setdefault("request_id", secrets.token_hex(8))
    return found


def _note_rejection(scope: Scope, error: FaderError) -> None:
    if isinstance(error, Unauthorized | Forbidden):
        scope.setdefault("state", {})["rejection"] = error.reason  # for whoever counts them


def _unexpected(scope: Scope, error: Exception) -> FaderError:
    # The sender gets the id to quote; what happened is for the log only.
    method = cast("HTTPScope", scope)["method"]
    _log.error("request %s failed: %s %s", _request_id(scope), method, shown(scope["path"]), exc_info=error)
    return FaderError("The server failed to answer this request.", hint="The log has more, under this request id.")


def _problem(error: FaderError, found_as: str) -> Problem:
    return Problem(
        type=f"urn:fader:problem:{error.slug}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        request_id=found_as,
        field=error.field,
        hint=error.hint,
        errors=error.errors,
        suggestions=error.suggestions if isinstance(error, NotFound) else (),
    )


def _fields(error: FaderError) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, StillRunning | TooManyRequests | Unavailable):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, MethodNotAllowed) and error.allowed:
        return {"Allow": ", ".join(error.allowed)}
    if isinstance(error, TooLarge):
        return {"Connection": "close"}  # rather than reading on to the end of it
    return {}


_OF_LITESTAR: Final[dict[int, type[FaderError]]] = {
    400: Malformed,
    401: Unauthorized,
    403: Forbidden,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: Invalid,
}


_BROKEN_OFF: Final = "client disconnected prematurely"
"""What the framework says when it asks for a body and the connection has gone: no fault of this server's, although it
calls it one."""


def _of_ours(request: Request[Any, Any, Any], error: FaderError) -> Response[bytes]:
    return problem_response(request, error)


def _of_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    if isinstance(error, ValidationException):
        return problem_response(request, _of_parameters(error))
    if error.status_code == 404:
        return problem_response(request, NotFound(f"There is nothing at {shown(request.url.path)}."))
    if isinstance(error, InternalServerException) and error.detail == _BROKEN_OFF:
        return problem_response(request, Malformed("The sender left before the request had been read."))
    kind = _OF_LITESTAR.get(error.status_code)
    if kind is None:
        return _of_anything(request, error)
    if kind is TooLarge:
        return problem_response(request, _too_large(request), error.headers)
    detail = (
        f"{request.method} is not possible at {shown(request.url.path)}."
        if kind is MethodNotAllowed
        else f"{error.detail}."
    )
    return problem_response(request, kind(detail), error.headers)


def _too_large(request: Request[Any, Any, Any]) -> FaderError:
    most = request.route_handler.resolve_request_max_body_size()
    return TooLarge(f"The body is larger than {most:,} bytes.", hint="That is the most here: send less at once.")


def _of_parameters(error: ValidationException) -> FaderError:
    """Query parameters are read by the framework; its messages name the parameter and what was expected."""
    # The framework's reading of bodies is replaced by our own, so all it can say of one is that there is
    # none.
    messages = error.extra if isinstance(error.extra, list) else []
    found = [FieldError(str(one.get("key", "")), _sentence(str(one.get("message", "")))) for one in messages]
    if any(one.field == "data" for one in found):
        return Malformed("The body is missing.", hint="Send JSON, with Content-Type: application/json.")
    return Invalid.of(found) if found else Malformed(error.detail)


def _sentence(text: str) -> str:
    text = re.sub(r" - at `.*`$", "", text)
    return text[:1].lower() + text[1:] if text else "is not valid"


def _of_anything(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return problem_response(request, _unexpected(request.scope, error))


exception_handlers: Final[dict[Any, Any]] = {
    FaderError: _of_ours,
    HTTPException: _of_framework,
    Exception: _of_anything,
}
"""What the application gives to Litestar as ``exception_handlers``."""
