"""Who is let in, as alternatives of which one must hold, each a list of tests that all must hold.

Strategies of Unleash's can say nothing else: a strategy is a list of constraints, and strategies are alternatives.
Every test can be negated exactly, and so can everything that is made of tests.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fader_server.unleash.wire import WireConstraint

MOST: Final = 200
"""Alternatives that are kept, and tests of one. What would need more lets fewer in, rather than swell what every SDK
fetches."""

_MOST_PAIRS: Final = 2_000
"""Pairs of alternatives that are looked at at once: no flag may keep a server busy."""


class SegmentTest(Struct, frozen=True):
    """Membership of a segment that is sent by its number, with what it asks."""

    id: int
    constraints: tuple[WireConstraint, ...]


Literal: TypeAlias = WireConstraint | SegmentTest
Clause: TypeAlias = tuple[Literal, ...]
Clauses: TypeAlias = tuple[Clause, ...]

NOBODY: Final[Clauses] = ()
EVERYBODY: Final[Clauses] = ((),)


class TooManyError(Exception):
    """More alternatives than are kept."""


def both(one: Clauses, other: Clauses) -> Clauses:
    """Those who are let in by both.

    Raises:
        TooManyError: if that takes too many alternatives.
    """
    if EVERYBODY in (one, other):
        return other if one == EVERYBODY else one
    if len(one) * len(other) > _MOST_PAIRS:
        raise TooManyError
    found: dict[Clause, None] = {}
    for mine in one:
        against = {opposite(literal) for literal in mine if isinstance(literal, WireConstraint)}
        for theirs in other:
            if against.isdisjoint(theirs):
                clause = tuple(dict.fromkeys(mine + theirs))
                refuse_too_many(len(clause))
                found[clause] = None
    refuse_too_many(len(found))
    return tuple(found)


def either(alternatives: Iterable[Clauses]) -> Clauses:
    """Those who are let in by any of these.

    Raises:
        TooManyError: if there are too many alternatives.
    """
    found = dict.fromkeys(clause for clauses in alternatives for clause in clauses)
    if () in found:
        return EVERYBODY
    refuse_too_many(len(found))
    return tuple(found)


def all_but(clauses: Clauses) -> Clauses:
    """Those who are not let in.

    Raises:
        TooManyError: if that takes too many alternatives.
    """
    others = EVERYBODY
    for clause in clauses:
        others = both(others, either(_negated(literal) for literal in clause))
    return others


def disjoint(clauses: Clauses) -> Clauses:
    """The same, so that nobody is let in by two alternatives: whom one draws by lot and keeps out must not be drawn
    again by the next.

    Raises:
        TooManyError: if that takes too many alternatives.
    """
    apart: list[Clause] = []
    others = EVERYBODY
    for clause in clauses:
        for more in both((clause,), others):
            apart.append(more)
            refuse_too_many(len(apart))
        others = both(others, _all_but_one(clause))
    return tuple(apart)


def _all_but_one(clause: Clause) -> Clauses:
    """Those for whom a test fails, by the first that does, so that these alternatives are disjoint, too."""
    alternatives: list[Clauses] = []
    so_far = EVERYBODY
    for literal in clause:
        alternatives.append(both(so_far, _negated(literal)))
        so_far = both(so_far, ((literal,),))
    return either(alternatives)


def _negated(literal: Literal) -> Clauses:
    if isinstance(literal, WireConstraint):
        return ((opposite(literal),),)
    return tuple((opposite(constraint),) for constraint in literal.constraints)


def opposite(constraint: WireConstraint) -> WireConstraint:
    """The constraint that holds where this one does not."""
    return replace(constraint, inverted=not constraint.inverted)


def refuse_too_many(count: int) -> None:
    """Raise ``TooManyError`` if there are more than are kept."""
    if count > MOST:
        raise TooManyError
