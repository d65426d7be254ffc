"""Operators on versions, by the precedence of Semantic Versioning 2.0.0."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from fader.operators.operator import Operator, Test, WrittenTest

Precedence: TypeAlias = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]
"""Compares as section 11 of the specification says; build metadata is no part of it."""

REMEMBERED: Final = 1024
"""Versions whose comparison a constraint remembers: an application sees few different ones, again and again."""

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_IDENTIFIER: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_LONGEST: Final = 256


def precedence(version: str) -> Precedence | None:
    """What orders versions; ``None`` if the text is no version: three numbers, no leading ``v``.

    >>> precedence("1.0.0-rc.1") < precedence("1.0.0") == precedence("1.0.0+build.5")
    True
    """
    read = _SEMVER.fullmatch(version) if len(version) <= _LONGEST else None
    if read is None:
        return None
    major, minor, patch, prerelease = read.groups()
    identifiers = () if prerelease is None else tuple(_identifier(text) for text in prerelease.split("."))
    return int(major), int(minor), int(patch), prerelease is None, identifiers


def _identifier(text: str) -> tuple[int, int, str]:
    # Numbers come before words.
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def _version(text: str) -> Precedence:
    read = precedence(text)
    if read is None:
        raise ValueError(f"{text!r} is not a version: write it like 3.2.0 or 3.2.0-rc.1, without a leading v")
    return read


class _Remembered(dict[Any, bool]):
    """Answers by version. One that was seen before costs less than any comparison could."""

    def __init__(self, test: Test) -> None:
        self._test = test

    def __missing__(self, version: Any) -> bool:
        if len(self) >= REMEMBERED:
            self.clear()
        answer = self[version] = self._test(version)
        return answer


def _compare(compare: Callable[[Any, Any], bool]) -> Callable[[Sequence[Precedence], bool], Test]:
    def build(limits: Sequence[Precedence], _case_insensitive: bool) -> Test:
        def test(version: Any) -> bool:
            read = precedence(version) if isinstance(version, str) else None
            return read is not None and any(compare(read, limit) for limit in limits)

        remembered = _Remembered(test)
        return WrittenTest("{constant}[{text}]", remembered, remembered.__getitem__)

    return build


OPERATORS: Final = (
    Operator(name="semver_eq", meaning="is one of the versions", parse=_version, build=_compare(operator.eq)),
    Operator(name="semver_gt", meaning="is a later version", parse=_version, build=_compare(operator.gt), most=1),
    Operator(
        name="semver_ge",
        meaning="is this version or later",
        parse=_version,
        build=_compare(operator.ge),
        most=1,
    ),
    Operator(name="semver_lt", meaning="is an earlier version", parse=_version, build=_compare(operator.lt), most=1),
    Operator(
        name="semver_le",
        meaning="is this version or earlier",
        parse=_version,
        build=_compare(operator.le),
        most=1,
    ),
)
