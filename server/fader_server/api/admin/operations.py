"""What all operations of the admin API declare alike: who may, what can go wrong, how a body is read."""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from litestar import Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from msgspec import Struct

from fader_server.access import AdminPrincipal
from fader_server.api.admin.idempotency import SHOWN_ONCE, AnswersKept, KeyedOperation
from fader_server.api.admin.requests import LINES
from fader_server.api.admin.views import Page
from fader_server.api.bodies import StrictBody
from fader_server.api.error_forms import PROBLEM_JSON, Problem
from fader_server.api.guards import Needs, Scope, may
from fader_server.errors import FieldError, Invalid
from fader_server.flags.commands import Intent
from fader_server.storage.records import Role

_ContentT = TypeVar("_ContentT")
_ItemT = TypeVar("_ItemT")

DRY_RUN_HEADER: Final = "Fader-Dry-Run"

Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=500, description="At most so many.")]
Cursor: TypeAlias = Annotated[
    str | None, QueryParameter(description="`next_cursor` of the part before; without it, the list begins.")
]
DryRun: TypeAlias = Annotated[
    bool, QueryParameter(description="Check everything, answer what would be, and write nothing.")
]
Force: TypeAlias = Annotated[
    bool, QueryParameter(description="Change the flag although it is in a ramp, which is held then.")
]
ReasonParameter: TypeAlias = Annotated[
    str, QueryParameter(description="Why, for the history.", schema_extra=dict(LINES))
]

_DESCRIPTIONS: Final = {
    400: "The request cannot be read.",
    401: "No valid admin token.",
    403: "The token may not do this.",
    404: "Something named in the path does not exist; `suggestions` are the nearest that do.",
    409: "The state of things forbids it.",
    412: "Changed since it was looked at.",
    413: "The body is too large.",
    415: "The body is not JSON by its own word.",
    422: "The request breaks rules; `errors` names every field at fault.",
    500: "The server failed; its log has more under `request_id`.",
    503: "The database cannot be used at the moment; nothing was changed.",
}


def operation(
    operation_id: str,
    summary: str,
    *,
    role: Role,
    scope: Scope,
    body: type[Struct] | None = None,
    status: int = 200,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Arguments for a route's decorator.

    Args:
        operation_id: what generated clients call it.
        role: the least that the token must have.
        scope: what of the server the operation touches.
        body: what it takes.
        status: of the answer when all is well.
        errors: statuses it may answer besides those that go without saying.
    """
    possible = {401, 403, 422, 500, 503, *errors}
    if body is not None:
        possible |= {400, 413, 415}
    declared: dict[str, Any] = {
        "operation_id": operation_id,
        "summary": summary,
        "description": f"{summary}. {Needs(role, scope).words}",
        "opt": may(role, scope),
        "status_code": status,
        "security": [{"admin_token": []}],
        "responses": {
            code: ResponseSpec(
                Problem,
                generate_examples=False,
                description=_DESCRIPTIONS[code],
                media_type=PROBLEM_JSON,
            )
            for code in sorted(possible)
        },
    }
    if body is not None:
        declared["dto"] = StrictBody[body]  # type: ignore[valid-type]
        declared["return_dto"] = None
    return declared


def writing(
    operation_id: str,
    summary: str,
    *,
    role: Role,
    scope: Scope,
    body: type[Struct] | None = None,
    status: int = 200,
    errors: tuple[int, ...] = (),
    shown_once: str | None = None,
) -> dict[str, Any]:
    """Arguments for the decorator of a route that changes something: tries of one request may share a key.

    Args:
        shown_once: a field of the answer that is kept nowhere.
        The others: see :func:`operation`.
    """
    declared = operation(operation_id, summary, role=role, scope=scope, body=body, status=status, errors=(409, *errors))
    declared["middleware"] = [AnswersKept()]
    declared["operation_class"] = KeyedOperation
    if shown_once is not None:
        declared["opt"] |= {SHOWN_ONCE: shown_once}
    return declared


def intent(principal: AdminPrincipal, reason: str, *, dry_run: bool = False, force: bool = False) -> Intent:
    """Who wants it, and why."""
    return Intent(actor=principal.name, reason=reason, dry_run=dry_run, force=force)


def answer(content: _ContentT, *, dry_run: bool) -> Response[_ContentT]:
    """An answer that says so if nothing was written."""
    return Response(content, headers={DRY_RUN_HEADER: "true"} if dry_run else {})


def page_of(items: list[_ItemT], limit: int, position: Callable[[_ItemT], str]) -> Page[_ItemT]:
    """The part of a list that fits, and what to ask with for the items after it.

    The cursor is opaque, so that nobody builds on what is in it.

    Args:
        items: at least one more than fits, if there are more.
        position: of an item in the list.
    """
    if len(items) <= limit:
        return Page(items, None)
    last = position(items[limit - 1]).encode()
    return Page(items[:limit], base64.urlsafe_b64encode(last).decode().rstrip("="))


def position_of(cursor: str | None) -> str:
    """Where the cursor points; the beginning without one.

    Raises:
        Invalid: if it is none of ours.
    """
    if cursor is None:
        return ""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise Invalid.of([FieldError("cursor", "is not one that this list has given out")]) from None
