"""Constraints and segments as closures: each asks its question and, if the answer is yes, hands on to what
follows.

A closure takes a targeting key (empty where there is none) and attributes, and returns what the one that it
hands on to returns, or ``None`` for no. So a rule of three constraints costs three calls and no loop.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar

from msgspec import Struct

from fader.context import Attributes, canonical_text
from fader.model import APP, CURRENT_TIME, ENVIRONMENT, TARGETING_KEY, Constraint, Segment
from fader.operators import EXISTS, OPERATORS
from fader.operators.operator import Test, UnavailableError
from fader.status import logger

T = TypeVar("T")
Step: TypeAlias = Callable[[str, Attributes], T | None]
Read: TypeAlias = Callable[[str, Attributes], Any]

_LISTS: Final = (list, tuple, set, frozenset)
_unavailable: set[str] = set()


class Surroundings(Struct, frozen=True):
    """What well-known attributes fall back to where a context does not have them."""

    app: str = ""
    environment: str = ""


def no(_key: str, _attributes: Attributes) -> None:
    """The step that lets nobody on."""


def yes(_key: str, _attributes: Attributes) -> bool:
    """The end of a chain that is only asked whether it holds."""
    return True


def reader(attribute: str, surroundings: Surroundings) -> Read | None:
    """How to read a well-known attribute, or ``None`` for one that is simply in the context."""
    if attribute == TARGETING_KEY:
        return lambda key, _attributes: key or None
    if attribute == CURRENT_TIME:
        return _current_time
    if attribute in (APP, ENVIRONMENT):
        fallback = (surroundings.app if attribute == APP else surroundings.environment) or None
        return lambda _key, attributes: _given(attributes, attribute, fallback)
    return None


def _current_time(_key: str, attributes: Attributes) -> Any:
    given = attributes.get(CURRENT_TIME)
    return datetime.now(UTC) if given is None else given


def _given(attributes: Attributes, name: str, fallback: Any) -> Any:
    value = attributes.get(name)
    return fallback if value is None else value


def value_of(attribute: str, surroundings: Surroundings, key: str, attributes: Attributes) -> Any:
    """What an attribute is for a context; ``None`` where it is missing."""
    read = reader(attribute, surroundings)
    return attributes.get(attribute) if read is None else read(key, attributes)


def asking(constraint: Constraint, surroundings: Surroundings, then: Step[T]) -> Step[T]:
    """A constraint as a step.

    Args:
        constraint: What to ask.
        surroundings: What well-known attributes fall back to.
        then: The step that those for whom it holds go on to.
    """
    name, inverted = constraint.attribute, constraint.inverted
    read = reader(name, surroundings)
    if constraint.operator == EXISTS:
        return _existing(name, read, inverted, then)
    operator = OPERATORS.get(constraint.operator)
    if operator is None:
        # An operator newer than this SDK: the answer is no, inverted or not, for a guess could open the flag.
        return no
    try:
        test = operator.compile(constraint.values, constraint.case_insensitive)
    except UnavailableError as error:
        _say_once(str(error))
        return no
    # `not_in` with a missing attribute is true, and `in` inverted is just that.
    return _testing(name, read, _Asked(test, operator.takes_text), inverted is not operator.negated, then)


def _existing(name: str, read: Read | None, inverted: bool, then: Step[T]) -> Step[T]:
    def step(key: str, attributes: Attributes) -> T | None:
        value = attributes.get(name) if read is None else read(key, attributes)
        return then(key, attributes) if (value is None) is inverted else None

    return step


class _Asked:
    """A test for values of every kind: missing ones, lists, and objects that raise when they are looked at."""

    def __init__(self, test: Test, takes_text: bool) -> None:
        self.test = test
        self._takes_text = takes_text

    def __call__(self, value: Any) -> bool:
        try:
            if isinstance(value, _LISTS):
                return any(self._holds(element) for element in value)
            return self._holds(value)
        except Exception:  # noqa: BLE001 (what an application's objects do is not in our hands)
            return False

    def _holds(self, value: Any) -> bool:
        if self._takes_text:
            value = canonical_text(value)
        return value is not None and self.test(value)


def _testing(name: str, read: Read | None, asked: _Asked, inverted: bool, then: Step[T]) -> Step[T]:
    if read is not None:

        def well_known(key: str, attributes: Attributes) -> T | None:
            return then(key, attributes) if asked(read(key, attributes)) is not inverted else None

        return well_known

    test = asked.test

    # The same for ordinary attributes, with the short way for texts, which nearly all of them are.
    def step(key: str, attributes: Attributes) -> T | None:
        value = attributes.get(name)
        if (test(value) if value.__class__ is str else asked(value)) is not inverted:
            return then(key, attributes)
        return None

    return step


def _say_once(message: str) -> None:
    if message not in _unavailable:
        _unavailable.add(message)
        logger.warning("%s; such constraints let nobody in", message)


def member_of(segment: Segment, surroundings: Surroundings, then: Step[T]) -> Step[T]:
    """A segment as a step: its members go on to ``then``."""
    listed = frozenset(segment.targeting_keys) - {""}  # no targeting key is not a key
    described = all_of(segment.constraints, surroundings, yes) if segment.constraints else no

    def step(key: str, attributes: Attributes) -> T | None:
        return then(key, attributes) if key in listed or described(key, attributes) else None

    return step


def all_of(constraints: Sequence[Constraint], surroundings: Surroundings, then: Step[T]) -> Step[T]:
    """All of these constraints, in order, as one step."""
    step = then
    for constraint in reversed(constraints):
        step = asking(constraint, surroundings, step)
    return step


def all_members_of(
    names: Sequence[str], segments: Mapping[str, Segment], surroundings: Surroundings, then: Step[T]
) -> Step[T]:
    """All of these segments, in order, as one step. One that does not exist has no members."""
    step = then
    for name in reversed(names):
        segment = segments.get(name)
        step = no if segment is None else member_of(segment, surroundings, step)
    return step


def identity(by: str, surroundings: Surroundings) -> Callable[[str, Attributes], str | None]:
    """What an attribute is hashed as: its canonical text, or ``None`` where it is missing or has none."""

    def read(key: str, attributes: Attributes) -> str | None:
        value = value_of(by, surroundings, key, attributes)
        return None if value is None else canonical_text(value)

    return read
