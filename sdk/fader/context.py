"""Whom a flag is evaluated for: the evaluation context, and the one text that each of its values has."""

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from msgspec import Struct

Attributes: TypeAlias = Mapping[str, Any]

NO_ATTRIBUTES: Final[Attributes] = {}


class EvaluationContext(Struct, frozen=True, gc=False):
    """What ``Context(…)`` makes, and the type to write in annotations. Treat ``attributes`` as read-only."""

    targeting_key: str | int | UUID | None
    attributes: dict[str, Any]

    def __repr__(self) -> str:
        key = [] if self.targeting_key is None else [repr(self.targeting_key)]
        return f"Context({', '.join([*key, *(f'{name}={value!r}' for name, value in self.attributes.items())])})"


def Context(targeting_key: str | int | UUID | None = None, /, **attributes: Any) -> EvaluationContext:  # noqa: N802
    """Say whom to evaluate flags for.

    Args:
        targeting_key: The user's id; what percentages are drawn by. An empty one counts as missing.
        **attributes: What rules may ask for: texts, numbers, booleans, times (``datetime``, or text as RFC 3339), or
            lists of these. ``None`` counts as missing. Some names are well known: ``session_id``,
            ``remote_address``, ``app``, ``environment`` and ``current_time``; the last three have defaults.

    Returns:
        The context, to be given to ``is_enabled`` and its like. Its type is ``EvaluationContext``.

    >>> Context("user-42", country="DE")
    Context('user-42', country='DE')
    """
    # A function and not the class itself: contexts are built for each request or even for each call, and a class that
    # takes keyword arguments of any name costs more than twice as much to call, which is more than many a flag costs.
    return EvaluationContext(targeting_key, attributes)


def canonical_text(value: object) -> str | None:
    """The one text that stands for a scalar when it is compared with texts or hashed.

    Args:
        value: Any object.

    Returns:
        Text as it is; ``true`` and ``false``; the shortest decimal of a number, without ``.0`` where it is integral;
        ``None`` for what has no such text: NaN, infinities, and everything that is no scalar.

    >>> canonical_text(True), canonical_text(3.0), canonical_text(0.1), canonical_text([1])
    ('true', '3', '0.1', None)
    """
    if isinstance(value, str):
        return str.__str__(value)  # an enumeration's own str() would be the name of its member
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else format(Decimal(float.__repr__(value)), "f")
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value.is_finite() else None
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return None


def hashable_text(value: object) -> str | None:
    """The text that a value is hashed as: its canonical one, or ``None`` if it has none, or none in UTF-8.

    Never raises, whatever the value does when it is looked at.

    >>> hashable_text(42), hashable_text("\\ud800"), hashable_text([])
    ('42', None, None)
    """
    try:
        text = canonical_text(value)
        if text is not None:
            text.encode()
        return text
    except Exception:  # noqa: BLE001 (what an application's objects do is not in our hands)
        return None


def parts(context: object) -> tuple[str, Attributes]:
    """Take apart whatever a caller may give as a context.

    Args:
        context: An evaluation context, a bare targeting key, or ``None``.

    Returns:
        The targeting key as text, empty where there is none, and the attributes.

    Raises:
        TypeError: if it is none of these.
    """
    if type(context) is str:
        return context, NO_ATTRIBUTES
    if isinstance(context, EvaluationContext):
        key = context.targeting_key
        if type(key) is str:
            return key, context.attributes
        return ("" if key is None else canonical_text(key) or "", context.attributes)
    if context is None:
        return "", NO_ATTRIBUTES
    text = canonical_text(context)
    if text is None:
        raise TypeError(
            f"a context is a Context, a user id or None, and not {type(context).__name__}: "
            'write Context("user-42", country="DE")'
        )
    return text, NO_ATTRIBUTES
