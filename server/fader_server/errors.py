"""What can go wrong in the server, as values: raised anywhere, put into words for the wire by
``api.problems`` alone."""

# ruff: noqa: N818 - they read as what happened: `raise Conflict(…)`

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

Rejection: TypeAlias = Literal["missing", "unknown", "expired", "revoked", "wrong_kind", "role", "scope"]
"""What was wrong with a key or a token, in one word, for those who count."""


class FieldError(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with one field of a document.

    ``field`` is the path from the document's root, such as ``rules[0].constraints[1].values[0]``; ``hint`` is
    the mend.
    """

    field: str
    detail: str
    hint: str | None = None


class FaderError(Exception):
    """Base of all errors that the server raises on purpose.

    Args:
        detail: What is wrong with this one request, in a sentence that its sender understands.
        field: The path of the field at fault, if there is just one.
        hint: What to do about it.
        errors: Everything that is wrong, when a whole document was checked.
    """

    status = 500
    slug = "internal"
    title = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.hint = hint
        self.errors = tuple(errors)


class Malformed(FaderError):
    """The request cannot be read at all: not JSON, not UTF-8, nested too deeply."""

    status, slug, title = 400, "malformed", "The request cannot be read"


class Unauthorized(FaderError):
    """Nobody we know: no key or token, an unknown, an expired or a revoked one."""

    status, slug, title = 401, "unauthorized", "Not signed in"

    def __init__(self, detail: str, *, reason: Rejection = "unknown", hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.reason = reason


class Forbidden(FaderError):
    """Somebody we know, who may not do this."""

    status, slug, title = 403, "forbidden", "Not allowed"

    def __init__(self, detail: str, *, reason: Rejection = "scope", hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.reason = reason


class NotFound(FaderError):
    """There is no such thing; ``suggestions`` are the nearest that there are."""

    status, slug, title = 404, "not-found", "Not found"

    def __init__(self, detail: str, *, suggestions: Sequence[str] = ()) -> None:
        nearest = ", ".join(suggestions)
        super().__init__(detail, hint=f"Did you mean {nearest}?" if nearest else None)
        self.suggestions = tuple(suggestions)


class MethodNotAllowed(FaderError):
    """There is something at this path, which cannot be asked for in this way."""

    status, slug, title = 405, "method-not-allowed", "Method not allowed"

    def __init__(self, detail: str, *, allowed: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.allowed = tuple(allowed)


class Conflict(FaderError):
    """The request is well-formed, and the state of things forbids it."""

    status, slug, title = 409, "conflict", "In conflict with what there is"


class StillRunning(FaderError):
    """A request with the same idempotency key is under way, and has been for longer than anybody should wait."""

    status, slug, title = 409, "still-running", "An earlier try is still running"
    retry_after = 1

    def __init__(self) -> None:
        super().__init__("An earlier try of this request is still running.", hint="Send it again in a moment.")


class SecretNotKept(FaderError):
    """The request has been done before; the answer to it held a secret, and secrets are not kept."""

    status, slug, title = 409, "secret-not-kept", "Done before, and the secret is not kept"


class PreconditionFailed(FaderError):
    """Somebody else has changed the thing since the sender looked at it."""

    status, slug, title = 412, "precondition-failed", "Changed meanwhile"


class TooLarge(FaderError):
    """The request's body is larger than this endpoint takes."""

    status, slug, title = 413, "too-large", "Too large"


class UnsupportedMediaType(FaderError):
    """The request's body is not JSON by its own word."""

    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"


class Invalid(FaderError):
    """The document was read and breaks rules; ``errors`` names all of them."""

    status, slug, title = 422, "invalid", "Invalid document"

    @classmethod
    def of(cls, errors: Sequence[FieldError]) -> "Invalid":
        """The error that reports these (one or more); the first is repeated on top, for readers who show only
        one."""
        first = errors[0]
        more = f" ({len(errors) - 1} more in `errors`)" if len(errors) > 1 else ""
        where = f"{first.field}: " if first.field else ""
        return cls(f"{where}{first.detail}{more}", field=first.field, hint=first.hint, errors=errors)


class KeyReused(FaderError):
    """The idempotency key belongs to another request."""

    status, slug, title = 422, "idempotency-key-reused", "Another request had this idempotency key"


class Unavailable(FaderError):
    """A passing fault, such as a database that cannot be reached: trying again later makes sense.

    ``retry_after`` is in seconds.
    """

    status, slug, title = 503, "unavailable", "Temporarily unavailable"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, hint="Try again later.")
        self.retry_after = retry_after


class Busy(Unavailable):
    """Too many have come at once; this one is asked to come back at a time of its own."""

    slug, title = "busy", "Too busy at the moment"


class TooManyRequests(FaderError):
    """One key or token asks for more than its share. ``retry_after`` is in seconds."""

    status, slug, title = 429, "too-many-requests", "Too many requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, hint="Try again later, and less often.")
        self.retry_after = retry_after
