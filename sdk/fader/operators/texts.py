"""Operators on texts. Everything that has a canonical text can be asked: booleans and numbers, too."""

from collections.abc import Sequence
from typing import Any, Final

from fader.operators.operator import Operator, Test, WrittenTest


def _is_one_of(values: Sequence[str], _case_insensitive: bool) -> Test:
    members = frozenset(values)
    return WrittenTest("{text} in {constant}", members, members.__contains__)


def _starts_with(values: Sequence[str], case_insensitive: bool) -> Test:
    starts = _all(values, case_insensitive)
    if case_insensitive:
        return lambda text: text.lower().startswith(starts)
    return WrittenTest("{text}.startswith({constant})", starts, lambda text: text.startswith(starts))


def _ends_with(values: Sequence[str], case_insensitive: bool) -> Test:
    ends = _all(values, case_insensitive)
    if case_insensitive:
        return lambda text: text.lower().endswith(ends)
    return WrittenTest("{text}.endswith({constant})", ends, lambda text: text.endswith(ends))


def _contains(values: Sequence[str], case_insensitive: bool) -> Test:
    wanted = _all(values, case_insensitive)

    def test(text: Any) -> bool:
        searched = text.lower() if case_insensitive else text
        return any(value in searched for value in wanted)

    return test


def _all(values: Sequence[str], case_insensitive: bool) -> tuple[str, ...]:
    # Lower case and not case folding, as in Unleash: "ß" is not "SS".
    return tuple(value.lower() for value in values) if case_insensitive else tuple(values)


OPERATORS: Final = (
    Operator(name="in", meaning="is one of the values", parse=str, build=_is_one_of, fewest=0, takes_text=True),
    Operator(
        name="not_in",
        meaning="is none of the values",
        parse=str,
        build=_is_one_of,
        fewest=0,
        negated=True,
        takes_text=True,
    ),
    Operator(
        name="starts_with",
        meaning="starts with one of the values",
        parse=str,
        build=_starts_with,
        folds_case=True,
        takes_text=True,
    ),
    Operator(
        name="ends_with",
        meaning="ends with one of the values",
        parse=str,
        build=_ends_with,
        folds_case=True,
        takes_text=True,
    ),
    Operator(
        name="contains",
        meaning="contains one of the values",
        parse=str,
        build=_contains,
        folds_case=True,
        takes_text=True,
    ),
)
