"""Operators on moments in time, as RFC 3339 writes them."""

import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fader.operators.operator import Operator, Test

# The shape is checked here because `fromisoformat` takes much more than RFC 3339: weeks, dates alone, no zone.
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def moment(value: Any) -> datetime | None:
    """The moment that a value is or spells, with its time zone; ``None`` if it does neither.

    A ``datetime`` without a time zone is taken as UTC.
    """
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            return None
    return None


def _moment(text: str) -> datetime:
    read = moment(text)
    if read is None:
        raise ValueError(f"{text!r} is not a time: write it like 2026-11-23T10:00:00Z (RFC 3339)")
    return read


def _compare(compare: Callable[[Any, Any], bool]) -> Callable[[Sequence[datetime], bool], Test]:
    def build(limits: Sequence[datetime], _case_insensitive: bool) -> Test:
        (limit,) = limits

        def test(value: Any) -> bool:
            read = moment(value)
            return read is not None and compare(read, limit)

        return test

    return build


OPERATORS: Final = (
    Operator(name="before", meaning="is before the time", parse=_moment, build=_compare(operator.lt), most=1),
    Operator(name="after", meaning="is after the time", parse=_moment, build=_compare(operator.gt), most=1),
)
