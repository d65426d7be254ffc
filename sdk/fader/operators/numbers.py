"""Operators on numbers, and on texts that spell a number."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from fader.operators.operator import Operator, Test

Number: TypeAlias = int | float

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,300}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


def number(value: Any) -> Number | None:
    """The number that a value is or spells; ``None`` if it does neither. Booleans are no numbers.

    >>> number("1e3"), number(7), number("7 "), number(True)
    (1000.0, 7, None, None)
    """
    if isinstance(value, str):
        # Integers stay exact: two large ids are not equal because their floats are.
        if _INTEGER.fullmatch(value):
            return int(value)
        if not _DECIMAL.fullmatch(value):
            return None
        value = float(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _number(text: str) -> Number:
    read = number(text)
    if read is None:
        raise ValueError(f"{text!r} is not a number: write it like 18, -2.5 or 1e6")
    return read


def _compare(compare: Callable[[Any, Any], bool]) -> Callable[[Sequence[Number], bool], Test]:
    def build(limits: Sequence[Number], _case_insensitive: bool) -> Test:
        (limit,) = limits

        def test(value: Any) -> bool:
            read = number(value)
            return read is not None and compare(read, limit)

        return test

    return build


def _equals(values: Sequence[Number], _case_insensitive: bool) -> Test:
    wanted = frozenset(values)  # equal numbers have equal hashes, whether int or float

    def test(value: Any) -> bool:
        read = number(value)
        return read is not None and read in wanted

    return test


OPERATORS: Final = (
    Operator(name="=", meaning="equals one of the numbers", parse=_number, build=_equals),
    Operator(name="<", meaning="is less than the number", parse=_number, build=_compare(operator.lt), most=1),
    Operator(name="<=", meaning="is at most the number", parse=_number, build=_compare(operator.le), most=1),
    Operator(name=">", meaning="is more than the number", parse=_number, build=_compare(operator.gt), most=1),
    Operator(name=">=", meaning="is at least the number", parse=_number, build=_compare(operator.ge), most=1),
)
