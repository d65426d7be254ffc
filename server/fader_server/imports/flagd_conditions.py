"""The conditions of flagd's targeting rules, which are JSONLogic, as constraints of ours.

A condition is a tree of *and*, *or* and *not* over comparisons, and a rule of ours asks for all its constraints. So a
condition comes to a list of alternatives, each a list of constraints, and to another such list for its opposite.
JSONLogic takes a missing attribute for null, and null for 0 where it compares sizes; ours holds for nobody then.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from fader import model
from fader.operators import EXISTS, OPERATORS
from fader_server.unleash.constraints import NEVER
from fader_server.unleash.contexts import RESERVED
from fader_server.unleash.notes import Notebook

Alternatives: TypeAlias = list[tuple[model.Constraint, ...]]
"""Any of these will do: none for nobody, an empty one for everybody."""

TARGETING_KEY: Final = "targetingKey"
FLAG_KEY: Final = "$flagd.flagKey"
_TIMESTAMP: Final = "$flagd.timestamp"
_MOST: Final = 50
"""Alternatives that one condition may come to."""
_MOST_READ: Final = 2_000
"""Conditions within one, which a few lines of ``$ref`` to one another could make billions."""
_DEEPEST: Final = 50


class Condition(Struct, frozen=True):
    """When it holds, and when it does not."""

    holds: Alternatives
    fails: Alternatives

    @property
    def opposite(self) -> "Condition":
        """The same the other way round."""
        return Condition(self.fails, self.holds)


_NEVER: Final = Condition([(NEVER,)], [(NEVER,)])
"""What stands for a condition that could not be read; a note has been written."""


class Conditions:
    """Reads the conditions of one document.

    Args:
        evaluators: What ``$ref`` refers to, by name.
    """

    def __init__(self, evaluators: Mapping[str, Any]) -> None:
        self._evaluators = evaluators

    def read(self, node: Any, notebook: Notebook) -> Condition:
        """What a condition comes to.

        Args:
            node: Of JSONLogic.
            notebook: Takes what cannot be carried exactly, under the condition's path.
        """
        return _Reading(self._evaluators).read(node, notebook)


class _Reading:
    """Reads one condition, with all that is within it."""

    def __init__(self, evaluators: Mapping[str, Any]) -> None:
        self._evaluators = evaluators
        self._referred: list[str] = []
        self._read = 0

    def read(self, node: Any, notebook: Notebook, depth: int = 0) -> Condition:
        """What a condition comes to that is within so many others."""
        self._read += 1
        if isinstance(node, bool):
            return Condition([()], []) if node else Condition([], [()])
        if self._read > _MOST_READ:
            if self._read == _MOST_READ + 1:
                notebook.write(f"The condition has more than {_MOST_READ:,} others within.")
            return _NEVER
        if not isinstance(node, dict) or len(node) != 1 or depth > _DEEPEST:
            notebook.write("This is not a condition that can be carried over.")
            return _NEVER
        [(operator, given)] = node.items()
        arguments = given if isinstance(given, list) else [given]
        place = notebook.at(operator)
        match operator:
            case "and" | "or":
                parts = [self.read(one, place.at(number), depth + 1) for number, one in enumerate(arguments)]
                return _all_of(parts, place) if operator == "and" else _any_of(parts, place)
            case "!" | "!!" if len(arguments) == 1:
                found = self.read(arguments[0], place.at(0) if isinstance(given, list) else place, depth + 1)
                return found.opposite if operator == "!" else found
            case "$ref":
                return self._referred_to(given, place, depth)
        compare = _COMPARISONS.get(operator)
        if compare is None:
            place.write("There is no such operator here.")
            return _NEVER
        return compare(operator, arguments, place)

    def _referred_to(self, name: Any, notebook: Notebook, depth: int) -> Condition:
        if not isinstance(name, str) or name not in self._evaluators:
            notebook.write("There is nothing of this name in $evaluators.")
            return _NEVER
        if name in self._referred:
            notebook.write(f"{name!r} refers to itself.")
            return _NEVER
        self._referred.append(name)
        found = self.read(self._evaluators[name], notebook, depth + 1)
        self._referred.pop()
        return found


def attribute_of(node: Any, notebook: Notebook) -> str | None:
    """The attribute that a ``var`` names; ``None``, with a note where it is one that cannot be carried over."""
    if not isinstance(node, dict) or list(node) != ["var"]:
        return None
    name = node["var"]
    name = name[0] if isinstance(name, list) and len(name) == 1 else name
    if not isinstance(name, str) or not name:
        notebook.write("Only attributes by their names can be carried over, without a default.")
        return None
    if name == TARGETING_KEY:
        return model.TARGETING_KEY
    if name == _TIMESTAMP:
        return model.CURRENT_TIME
    if name.startswith("$flagd.") or "." in name or name in RESERVED:
        notebook.write(f"The attribute {name!r} means something else here, or nothing.")
        return None
    return name


def _all_of(parts: Sequence[Condition], notebook: Notebook) -> Condition:
    holds: Alternatives = [()]
    fails: Alternatives = []
    for part in parts:
        # Looked at with each part, for what a few of them come to together may be more than fits into memory.
        if len(holds) * len(part.holds) > _MOST or len(fails) + len(part.fails) > _MOST:
            notebook.write(f"It would become more than {_MOST} rules.")
            return _NEVER
        holds = [(*one, *other) for one in holds for other in part.holds]
        fails += part.fails
    return Condition(holds, fails)


def _any_of(parts: Sequence[Condition], notebook: Notebook) -> Condition:
    return _all_of([part.opposite for part in parts], notebook).opposite


def _simple(constraint: model.Constraint) -> Condition:
    """A constraint that also answers for missing attributes as JSONLogic does."""
    return Condition([(constraint,)], [(replace(constraint, inverted=not constraint.inverted),)])


def _present(constraint: model.Constraint) -> Condition:
    """A test that fails where there is no attribute, whatever it asks."""
    there = model.Constraint(attribute=constraint.attribute, operator=EXISTS)
    fails = [(replace(constraint, inverted=not constraint.inverted),)]
    return Condition([(there, constraint)], [*fails, (replace(there, inverted=True),)])


def _sides(arguments: Sequence[Any], notebook: Notebook) -> tuple[str, Any, bool] | None:
    """The attribute and the constant that are compared, and whether they are the other way round."""
    if len(arguments) == 2:
        for position, other in ((0, 1), (1, 0)):
            constant = arguments[other]
            attribute = attribute_of(arguments[position], notebook.at(position))
            if attribute is not None and not isinstance(constant, dict):
                return attribute, constant, position == 1
    notebook.write("Only an attribute and a constant can be compared here.")
    return None


def _equality(operator: str, arguments: Sequence[Any], notebook: Notebook) -> Condition:
    sides = _sides(arguments, notebook)
    if sides is None:
        return _NEVER
    attribute, constant, _ = sides
    if operator in ("==", "!=") and not constant:
        notebook.write("flagd's engines disagree about what equals nothing; === and !== say it exactly.", "disputed")
    if constant is None:
        found = _simple(model.Constraint(attribute=attribute, operator=EXISTS, inverted=True))
    elif isinstance(constant, str | bool):
        found = _simple(model.Constraint(attribute=attribute, operator="in", values=(constant,)))
    elif isinstance(constant, int | float):
        found = _simple(model.Constraint(attribute=attribute, operator="=", values=(constant,)))
    else:
        notebook.write("Only texts, numbers and booleans can be compared with.")
        return _NEVER
    return found.opposite if operator.startswith("!") else found


_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_HOLDS: Final[Mapping[str, Callable[[float], bool]]] = {
    "<": lambda limit: limit > 0,
    "<=": lambda limit: limit >= 0,
    ">": lambda limit: limit < 0,
    ">=": lambda limit: limit <= 0,
}
"""Whether nothing, which counts as 0, is on this side of a number."""


def _size(operator: str, arguments: Sequence[Any], notebook: Notebook) -> Condition:
    sides = _sides(arguments, notebook)
    if sides is None:
        return _NEVER
    attribute, limit, is_flipped = sides
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        notebook.write("Only numbers can be compared by size.")
        return _NEVER
    operator = _FLIPPED[operator] if is_flipped else operator
    if attribute == model.CURRENT_TIME:
        return _time(operator, limit, notebook)
    constraint = model.Constraint(attribute=attribute, operator=operator, values=(limit,))
    there = model.Constraint(attribute=attribute, operator=EXISTS)
    opposite = replace(constraint, inverted=True)
    if _HOLDS[operator](limit):
        return Condition([(constraint,), (replace(there, inverted=True),)], [(there, opposite)])
    return Condition([(constraint,)], [(opposite,)])


def _time(operator: str, seconds: float, notebook: Notebook) -> Condition:
    """The time is always there; before and after are strict, and so are the opposites of what is not."""
    try:
        text = datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        notebook.write("This is no time in seconds.")
        return _NEVER
    name = "before" if operator in ("<", ">=") else "after"
    found = _simple(model.Constraint(attribute=model.CURRENT_TIME, operator=name, values=(text,)))
    return found.opposite if operator.endswith("=") else found


def _within(_operator: str, arguments: Sequence[Any], notebook: Notebook) -> Condition:
    sides = _sides(arguments, notebook)
    if sides is None:
        return _NEVER
    attribute, constant, is_flipped = sides
    if is_flipped and isinstance(constant, str):
        # A text within an attribute: part of a text. (Of a list it would have to be a whole element.)
        notebook.remark("The attribute is taken for a text; in a list, part of an element is enough here.")
        return _simple(model.Constraint(attribute=attribute, operator="contains", values=(constant,)))
    if not is_flipped and isinstance(constant, list) and all(isinstance(one, str | int | float) for one in constant):
        return _simple(model.Constraint(attribute=attribute, operator="in", values=tuple(constant)))
    notebook.write("Only an attribute in a list of constants, or a text in an attribute, can be carried over.")
    return _NEVER


def _affix(operator: str, arguments: Sequence[Any], notebook: Notebook) -> Condition:
    sides = _sides(arguments, notebook)
    if sides is None or sides[2] or not isinstance(sides[1], str):
        notebook.write("Only an attribute and a text can be compared like that.")
        return _NEVER
    return _simple(model.Constraint(attribute=sides[0], operator=operator, values=(sides[1],)))


_VERSIONS: Final = {
    "=": "semver_eq",
    "<": "semver_lt",
    "<=": "semver_le",
    ">": "semver_gt",
    ">=": "semver_ge",
}


def _version(_operator: str, arguments: Sequence[Any], notebook: Notebook) -> Condition:
    attribute = attribute_of(arguments[0], notebook.at(0)) if len(arguments) == 3 else None
    if attribute is None or not all(isinstance(one, str) for one in arguments[1:]):
        notebook.write("Only an attribute and a version can be compared like that.")
        return _NEVER
    sign, version = arguments[1], arguments[2]
    if OPERATORS["semver_eq"].check((version,)):
        notebook.at(2).write(f"{version!r} is not a whole version.")
        return _NEVER
    if sign in ("^", "~"):
        # From the very first version of its kind to before that of the next: -0 is the lowest there is.
        major, minor = (int(number) for number in version.split(".")[:2])
        first = f"{major}.0.0-0" if sign == "^" else f"{major}.{minor}.0-0"
        end = f"{major + 1}.0.0-0" if sign == "^" else f"{major}.{minor + 1}.0-0"
        bounds = [
            _simple(model.Constraint(attribute=attribute, operator=operator, values=(bound,)))
            for operator, bound in (("semver_ge", first), ("semver_lt", end))
        ]
        return _all_of(bounds, notebook)
    if sign == "!=":
        return _present(model.Constraint(attribute=attribute, operator="semver_eq", values=(version,), inverted=True))
    if sign not in _VERSIONS:
        notebook.at(1).write(f"There is no operator {sign!r} on versions.")
        return _NEVER
    return _simple(model.Constraint(attribute=attribute, operator=_VERSIONS[sign], values=(version,)))


_COMPARISONS: Final[Mapping[str, Callable[[str, Sequence[Any], Notebook], Condition]]] = {
    **dict.fromkeys(("==", "===", "!=", "!=="), _equality),
    **dict.fromkeys(("<", "<=", ">", ">="), _size),
    "in": _within,
    "starts_with": _affix,
    "ends_with": _affix,
    "sem_ver": _version,
}
