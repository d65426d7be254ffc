"""What somebody asks, and for whom."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fader.context import EvaluationContext
from fader_server.api.bodies import decode
from fader_server.errors import FaderError, Invalid


class InvalidContext(FaderError):  # noqa: N818 (reads as what happened, like the others)
    """The context is none."""

    status, slug, title = 400, "invalid-context", "Invalid context"


class TargetingKeyMissing(FaderError):  # noqa: N818
    """There is no targeting key, and who asks wants to be told."""

    status, slug, title = 400, "targeting-key-missing", "Targeting key missing"


class _Request(Struct, frozen=True):
    """What OpenFeature's providers send. By the protocol there must be a context, and a targeting key in it; but their
    users may well have neither, and then they send none."""

    context: dict[str, Any] | None = None


def context_of(body: bytes) -> dict[str, Any]:
    """The context in a request's body, as it was sent.

    Raises:
        Malformed: if the body is not JSON.
        InvalidContext: if there is something else where the context should be.
    """
    try:
        request = decode(body, _Request)
    except Invalid as error:
        raise InvalidContext(error.detail, hint='Send {"context": {"targetingKey": "user-42"}}.') from None
    return request.context or {}


def evaluation_context(sent: Mapping[str, Any], *, needs_key: bool) -> EvaluationContext:
    """A context in our words.

    Args:
        sent: As OpenFeature has it.
        needs_key: Whether there must be a targeting key. Otherwise rules that ask for one let nobody in, and
            percentages are drawn by ``session_id``, or for this once.

    Raises:
        InvalidContext: if the targeting key is neither text nor a whole number.
        TargetingKeyMissing: if there must be one, and it is missing or empty.
    """
    attributes = dict(sent)
    key = attributes.pop("targetingKey", None)
    if key is not None and (isinstance(key, bool) or not isinstance(key, str | int)):
        raise InvalidContext("The targetingKey is not text.", hint='Send it like this: {"targetingKey": "user-42"}.')
    if needs_key and key in (None, ""):
        raise TargetingKeyMissing("The context has no targetingKey.")
    return EvaluationContext(key, attributes)
