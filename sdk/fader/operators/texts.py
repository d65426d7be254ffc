"""Operators on texts. Everything that has a canonical text can be asked: booleans and numbers, too."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from fader.context import canonical_text
from fader.operators.operator import Operator, Test


def _on_texts(test: Callable[[str], bool]) -> Test:
    """A test of texts, for values of other kinds as well."""

    def test_value(value: Any) -> bool:
        if value.__class__ is not str:
            value = canonical_text(value)
            if value is None:
                return False
        return test(value)

    return test_value


def _is_one_of(values: Sequence[str], _case_insensitive: bool) -> Test:
    members = frozenset(values)
    return _on_texts(lambda text: text in members)


def _starts_with(values: Sequence[str], case_insensitive: bool) -> Test:
    if case_insensitive:
        lowered = tuple(value.lower() for value in values)
        return _on_texts(lambda text: text.lower().startswith(lowered))
    starts = tuple(values)
    return _on_texts(lambda text: text.startswith(starts))


def _ends_with(values: Sequence[str], case_insensitive: bool) -> Test:
    if case_insensitive:
        lowered = tuple(value.lower() for value in values)
        return _on_texts(lambda text: text.lower().endswith(lowered))
    ends = tuple(values)
    return _on_texts(lambda text: text.endswith(ends))


def _contains(values: Sequence[str], case_insensitive: bool) -> Test:
    if case_insensitive:
        lowered = tuple(value.lower() for value in values)
        return _on_texts(lambda text: any(value in text.lower() for value in lowered))
    wanted = tuple(values)
    return _on_texts(lambda text: any(value in text for value in wanted))


OPERATORS: Final = (
    Operator(name="in", meaning="is one of the values", parse=str, build=_is_one_of, fewest=0),
    Operator(name="not_in", meaning="is none of the values", parse=str, build=_is_one_of, fewest=0, negated=True),
    Operator(
        name="starts_with",
        meaning="starts with one of the values",
        parse=str,
        build=_starts_with,
        folds_case=True,
    ),
    Operator(name="ends_with", meaning="ends with one of the values", parse=str, build=_ends_with, folds_case=True),
    Operator(name="contains", meaning="contains one of the values", parse=str, build=_contains, folds_case=True),
)
