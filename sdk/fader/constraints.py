"""Constraints and segments as conditions: functions that say whether they hold for a context."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct

from fader.context import Attributes, canonical_text, hashable_text
from fader.members import Members
from fader.model import APP, CURRENT_TIME, ENVIRONMENT, TARGETING_KEY, Constraint, Segment
from fader.operators import EXISTS, OPERATORS
from fader.operators.operator import Test, UnavailableError
from fader.status import logger

Condition: TypeAlias = Callable[[str, Attributes], bool]
"""Takes a targeting key (empty where there is none) and attributes. Whatever the attributes are, it does not raise; a
targeting key that has no UTF-8 is a ``UnicodeEncodeError`` where it has to be hashed."""
Read: TypeAlias = Callable[[str, Attributes], Any]

_LISTS: Final = (list, tuple, set, frozenset)
_unavailable: set[str] = set()


class Surroundings(Struct, frozen=True):
    """What well-known attributes fall back to where a context does not have them."""

    app: str = ""
    environment: str = ""


def never(_key: str, _attributes: Attributes) -> bool:
    """The condition that holds for nobody."""
    return False


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


class Asked:
    """A test, fit for values of every kind: missing ones, lists, and objects that raise when they are looked at.

    Args:
        test: Of one value.
        takes_text: Whether values are asked by their canonical text.
    """

    __slots__ = ("takes_text", "test")

    def __init__(self, test: Test, takes_text: bool) -> None:
        self.test = test
        self.takes_text = takes_text

    def __call__(self, value: Any) -> bool:
        """Whether the value, or any of its elements, passes."""
        try:
            if isinstance(value, _LISTS):
                return any(self._passes(element) for element in value)
            return self._passes(value)
        except Exception:  # noqa: BLE001 (what an application's objects do is not in our hands)
            return False

    def _passes(self, value: Any) -> bool:
        if self.takes_text:
            value = canonical_text(value)
        return value is not None and self.test(value)


class AttributeCondition:
    """A constraint on an attribute that is simply in the context, or not.

    Args:
        attribute: Its name.
        asked: What it has to pass.
        inverted: Whether the condition is that it does not.
    """

    __slots__ = ("asked", "attribute", "inverted")

    def __init__(self, attribute: str, asked: Asked, inverted: bool) -> None:
        self.attribute = attribute
        self.asked = asked
        self.inverted = inverted

    def __call__(self, _key: str, attributes: Attributes) -> bool:
        """Whether it holds."""
        return self.asked(attributes.get(self.attribute)) is not self.inverted


def compile_constraint(constraint: Constraint, surroundings: Surroundings) -> Condition:
    """A constraint as a condition.

    Args:
        constraint: What to ask.
        surroundings: What well-known attributes fall back to.
    """
    name, inverted = constraint.attribute, constraint.inverted
    if constraint.operator == EXISTS:
        return lambda key, attributes: (value_of(name, surroundings, key, attributes) is None) is inverted
    operator = OPERATORS.get(constraint.operator)
    if operator is None:
        # An operator newer than this SDK: the answer is no, inverted or not, for a guess could open the flag.
        return never
    try:
        test = operator.compile(constraint.values, constraint.case_insensitive)
    except UnavailableError as error:
        _say_once(str(error))
        return never
    asked = Asked(test, operator.takes_text)
    # `not_in` with a missing attribute is true, and `in` inverted is just that.
    inverted = inverted is not operator.negated
    read = reader(name, surroundings)
    if read is None:
        return AttributeCondition(name, asked, inverted)
    return lambda key, attributes: asked(read(key, attributes)) is not inverted


def _say_once(message: str) -> None:
    if message not in _unavailable:
        _unavailable.add(message)
        logger.warning("%s; such constraints let nobody in", message)


def compile_segment(segment: Segment, surroundings: Surroundings, members: Members | None = None) -> Condition:
    """Membership of a segment as a condition.

    Args:
        segment: Whose members.
        surroundings: What well-known attributes fall back to.
        members: The long list that it names, as far as it is known. Without it, nobody is on it.
    """
    described = [compile_constraint(constraint, surroundings) for constraint in segment.constraints]
    if segment.members is not None and members is not None:
        return _in_long_list(segment, members.contains, described)
    listed = frozenset(segment.targeting_keys) - {""}  # no targeting key is not a key
    if not described:
        return lambda key, _attributes: key in listed
    return lambda key, attributes: key in listed or all(holds(key, attributes) for holds in described)


def _in_long_list(segment: Segment, contains: Callable[[str], bool], described: list[Condition]) -> Condition:
    listed = frozenset(segment.targeting_keys) - {""}
    if not listed and not described:
        return lambda key, _attributes: contains(key)
    return lambda key, attributes: (
        key in listed or contains(key) or (bool(described) and all(holds(key, attributes) for holds in described))
    )


class CompiledSegments(dict[str, Condition]):
    """Segments as conditions by name, each compiled when a flag first asks for it.

    All flags share them: a segment may list a million keys, and it must not be there once more for each flag.

    Args:
        segments: By name.
        surroundings: What well-known attributes fall back to.
        members: The long lists that are known, by their names.
    """

    def __init__(
        self, segments: Mapping[str, Segment], surroundings: Surroundings, members: Mapping[str, Members] | None = None
    ) -> None:
        self.segments = segments
        self._surroundings = surroundings
        self._members = members or {}

    def __missing__(self, name: str) -> Condition:
        segment = self.segments.get(name)
        if segment is None:
            return never  # a segment that does not exist has no members
        condition = self[name] = compile_segment(segment, self._surroundings, self.list_of(segment))
        return condition

    def take_over(self, others: "CompiledSegments") -> None:
        """Take what is compiled of segments that are the same in both."""
        # list() of a view is one step for the interpreter: other threads may compile segments meanwhile.
        for name, condition in list(others.items()):
            segment = self.segments.get(name)
            if segment is None or segment is not others.segments[name]:
                continue
            if self.list_of(segment) is others.list_of(segment):
                self[name] = condition

    def list_of(self, segment: Segment) -> Members | None:
        """The long list that a segment names, if it is known."""
        return None if segment.members is None else self._members.get(segment.members.list)


def identity(by: str, surroundings: Surroundings) -> Callable[[str, Attributes], str | None]:
    """What an attribute is hashed as: its canonical text, or ``None`` where it is missing or has none."""

    def read(key: str, attributes: Attributes) -> str | None:
        return hashable_text(value_of(by, surroundings, key, attributes))

    return read
