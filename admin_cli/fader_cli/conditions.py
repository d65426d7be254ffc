"""The little language in which people write constraints, and read them::

    country in DE, AT, CH
    not plan is free
    app_version semver_ge 3.2.0
    email ends_with "@example.com" ignoring case
    beta_tester exists

An attribute, an operator, values with commas between them. ``not`` in front turns it around. Text with blanks, commas
or quotation marks goes in double quotes, with ``\\`` before ``"`` and ``\\`` inside.
"""

import difflib
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from fader.model import Constraint, Scalar
from fader.operators import EXISTS, OPERATORS

Words: TypeAlias = list["_Word"]

_ALIASES: Final = {
    "is": ("in", False),
    "==": ("=", False),
    "!=": ("=", True),
    "is_not": ("in", True),
    "not_exists": (EXISTS, True),
    "missing": (EXISTS, True),
    "~": ("matches", False),
    "!~": ("matches", True),
    "startswith": ("starts_with", False),
    "endswith": ("ends_with", False),
    "cidr": ("in_cidr", False),
    "semver_=": ("semver_eq", False),
    "semver_>": ("semver_gt", False),
    "semver_>=": ("semver_ge", False),
    "semver_<": ("semver_lt", False),
    "semver_<=": ("semver_le", False),
}
"""Other words for operators: what they stand for, and whether turned around."""

_IGNORING: Final = ("ignoring", "case")
_TOKEN: Final = re.compile(r'\s*(?:(,)|"((?:[^"\\]|\\.)*)"|([^\s",]+))')
_BARE: Final = re.compile(r'[^\s",\\]+')
_KEYWORDS: Final = frozenset({"not", "ignoring"})


class _Word(tuple[str, int, bool]):
    """A word of the text: what it says, where it begins, whether it was quoted."""

    __slots__ = ()

    @property
    def text(self) -> str:
        return self[0]

    @property
    def begin(self) -> int:
        return self[1]

    @property
    def is_quoted(self) -> bool:
        return self[2]


class ConditionError(ValueError):
    """A condition that cannot be read.

    Args:
        condition: All of it.
        position: Where it goes wrong, in characters from 0.
        message: What is wrong, and the mend.
    """

    def __init__(self, condition: str, position: int, message: str) -> None:
        super().__init__(f"{message}\n  {condition}\n  {' ' * position}^")
        self.position = position
        self.message = message


def parse_condition(condition: str) -> Constraint:
    """Read a condition.

    Raises:
        ConditionError: saying where and how to mend it.

    >>> parse_condition("not country in DE, AT").inverted
    True
    """
    words = _words(condition)
    inverted = bool(words) and words[0].text == "not" and not words[0].is_quoted
    if inverted:
        words = words[1:]
    if len(words) < 2:
        raise ConditionError(
            condition, len(condition), 'a condition is an attribute, an operator and values: "country in DE, AT"'
        )
    attribute, operator_word, *rest = words
    if attribute.text == "," and not attribute.is_quoted:
        raise ConditionError(condition, attribute.begin, "the attribute is missing")
    operator, turned = _operator(condition, operator_word)
    case_insensitive = [word.text for word in rest[-2:]] == [*_IGNORING] and not any(w.is_quoted for w in rest[-2:])
    if case_insensitive:
        rest = rest[:-2]
    values = _values(condition, rest)
    _check(condition, operator, values, rest)
    return Constraint(
        attribute=attribute.text,
        operator=operator,
        values=tuple(values),
        inverted=inverted is not turned,
        case_insensitive=case_insensitive,
    )


def _words(condition: str) -> Words:
    words: Words = []
    position = 0
    end = len(condition.rstrip())
    while position < end:
        read = _TOKEN.match(condition, position)
        if read is None:
            begin = position + len(condition[position:]) - len(condition[position:].lstrip())
            raise ConditionError(condition, begin, "this quotation mark is never closed")
        if read[1] is not None:
            words.append(_Word((",", read.start(1), False)))
        elif read[2] is not None:
            words.append(_Word((re.sub(r"\\(.)", r"\1", read[2]), read.start(2) - 1, True)))
        else:
            words.append(_Word((read[3], read.start(3), False)))
        position = read.end()
    return words


def _operator(condition: str, word: _Word) -> tuple[str, bool]:
    if word.text in OPERATORS or word.text == EXISTS:
        return word.text, False
    if word.text in _ALIASES:
        return _ALIASES[word.text]
    near = difflib.get_close_matches(word.text, [*OPERATORS, EXISTS, *_ALIASES], n=1)
    mend = f"did you mean {near[0]}?" if near else f"there are: {', '.join([*OPERATORS, EXISTS])}"
    raise ConditionError(condition, word.begin, f"{word.text!r} is not an operator; {mend}")


def _values(condition: str, words: Sequence[_Word]) -> list[Scalar]:
    values: list[Scalar] = []
    wants_value = True
    for word in words:
        is_comma = word.text == "," and not word.is_quoted
        if is_comma and wants_value:
            raise ConditionError(condition, word.begin, "a value is missing before this comma")
        if not is_comma and not wants_value:
            raise ConditionError(
                condition, word.begin, "put a comma between values, or double quotes around one with blanks"
            )
        if not is_comma:
            values.append(word.text)
        wants_value = is_comma
    if words and wants_value:
        raise ConditionError(condition, len(condition), "a value is missing after the last comma")
    return values


def _check(condition: str, operator: str, values: Sequence[Scalar], words: Sequence[_Word]) -> None:
    if operator == EXISTS:
        if values:
            raise ConditionError(condition, words[0].begin, "exists takes no values")
        return
    places = [word.begin for word in words if word.is_quoted or word.text != ","]
    for position, message in OPERATORS[operator].check(values):
        raise ConditionError(condition, len(condition) if position is None else places[position], message)


def format_condition(constraint: Constraint) -> str:
    """Write a constraint so that ``parse_condition`` reads it back.

    >>> format_condition(Constraint(attribute="plan", operator="in", values=("pro", "big team"), inverted=True))
    'not plan in pro, "big team"'
    """
    parts = ["not"] if constraint.inverted else []
    parts += [_quoted(constraint.attribute), constraint.operator]
    if constraint.values:
        parts.append(", ".join(_quoted(value) for value in constraint.values))
    if constraint.case_insensitive:
        parts += _IGNORING
    return " ".join(parts)


def _quoted(value: Any) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if _BARE.fullmatch(text) and text not in _KEYWORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
