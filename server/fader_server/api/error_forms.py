"""How an error is written, by the path that was asked for: our own protocols say ``application/problem+json`` (RFC
9457), those of others say it in their own form, for their clients understand no other.

That holds for every error on these paths, whichever layer it comes from: a client that is asked to slow down, or that
meets a server which shuts down, is in no better position to read a foreign form than one whose key is wrong.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from fader_server.errors import FieldError

PROBLEM_JSON: Final = "application/problem+json"
_JSON: Final = "application/json"

_OFREP: Final = "/ofrep"
_UNLEASH: Final = ("/api/client", "/api/frontend", "/api/proxy", "/edge")
_ONE_FLAG: Final = "/ofrep/v1/evaluate/flags/"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as a machine and as a person want to read it."""

    type: str
    """``urn:fader:problem:<slug>``: the kind of problem, for programs to tell apart."""
    title: str
    status: int
    detail: str
    request_id: str
    """Also in the server's log."""
    field: str | None = None
    """The path of the (first) field at fault, such as ``rules[0].constraints[1].values[0]``."""
    hint: str | None = None
    """What to do about it."""
    errors: tuple[FieldError, ...] = ()
    """Everything that is wrong with the document."""
    suggestions: tuple[str, ...] = ()
    """The nearest names that do exist."""


class OfrepError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as OFREP has it: https://github.com/open-feature/protocol. Some of its clients read all three, whatever
    the status."""

    key: str | None = None
    """The flag that was asked for, if it was one."""
    errorCode: str  # noqa: N815 (the protocol's name)
    errorDetails: str  # noqa: N815


class UnleashError(Struct, frozen=True, kw_only=True):
    """An error as Unleash has it."""

    name: str
    message: str


_OFREP_CODES: Final = {
    "urn:fader:problem:malformed": "PARSE_ERROR",
    "urn:fader:problem:invalid": "INVALID_CONTEXT",
    "urn:fader:problem:invalid-context": "INVALID_CONTEXT",
    "urn:fader:problem:targeting-key-missing": "TARGETING_KEY_MISSING",
    "urn:fader:problem:flag-not-found": "FLAG_NOT_FOUND",
}
_UNLEASH_NAMES: Final = {
    400: "BadDataError",
    401: "AuthenticationRequired",
    403: "NoAccessError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "ContentTooLargeError",
    415: "ContentTypeError",
    422: "BadDataError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


def error_body(path: str, problem: Problem) -> tuple[str, bytes]:
    """An error in the form in which who asked for a path expects it.

    Args:
        path: What was asked for, without the query.
        problem: What went wrong.

    Returns:
        The media type, and the body.
    """
    media_type, form = _form(path, problem)
    return media_type, msgspec.json.encode(form)


def _form(path: str, problem: Problem) -> tuple[str, Any]:
    if _is_below(path, _OFREP):
        code = _OFREP_CODES.get(problem.type, "GENERAL")
        return _JSON, OfrepError(key=_flag(path), errorCode=code, errorDetails=_sentences(problem))
    if any(_is_below(path, prefix) for prefix in _UNLEASH):
        return _JSON, UnleashError(name=_UNLEASH_NAMES.get(problem.status, "GenericError"), message=_sentences(problem))
    return PROBLEM_JSON, problem


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _flag(path: str) -> str | None:
    return path.removeprefix(_ONE_FLAG) or None if path.startswith(_ONE_FLAG) else None


def _sentences(problem: Problem) -> str:
    return problem.detail if problem.hint is None else f"{problem.detail} {problem.hint}"
