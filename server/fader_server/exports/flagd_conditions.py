"""Our constraints, segments and rollouts as conditions of flagd's targeting rules, which are JSONLogic.

Its engines have their own ways with a missing attribute, so each comparison asks first whether there is one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from fader import model
from fader.bucketing import BUCKETS, thousandths
from fader.context import canonical_text
from fader.operators import EXISTS
from fader.operators.numbers import number
from fader.operators.times import moment
from fader_server.unleash.notes import Notebook
from fader_server.unleash.wire import LARGEST_WEIGHT_SUM

Logic: TypeAlias = Any
"""A condition; true and false stand for themselves."""

REDRAWN: Final = "flagd draws by another hash: as many are let in, or given each variant, but not the same ones."

_VERSIONS: Final = {"semver_eq": "=", "semver_gt": ">", "semver_ge": ">=", "semver_lt": "<", "semver_le": "<="}
_SIZES: Final = frozenset({"<", "<=", ">", ">="})


def all_of(conditions: Sequence[Logic]) -> Logic:
    """The condition that all of these hold."""
    asked = [one for one in conditions if one is not True]
    if False in asked:
        return False
    return True if not asked else asked[0] if len(asked) == 1 else {"and": asked}


def any_of(conditions: Sequence[Logic]) -> Logic:
    """The condition that any of these holds."""
    asked = [one for one in conditions if one is not False]
    if True in asked:
        return True
    return False if not asked else asked[0] if len(asked) == 1 else {"or": asked}


def opposite(condition: Logic) -> Logic:
    """The condition that this one does not hold."""
    return not condition if isinstance(condition, bool) else {"!": [condition]}


def variable(attribute: str, notebook: Notebook) -> Logic:
    """How an attribute is read."""
    if attribute == model.TARGETING_KEY:
        return {"var": "targetingKey"}
    if "." in attribute or attribute.startswith("$") or attribute in ("", "targetingKey"):
        notebook.write(f"flagd cannot read an attribute of the name {attribute!r}.")
    if attribute in (model.APP, model.ENVIRONMENT):
        notebook.write(f"Fader knows {attribute!r} by itself, and flagd does not.")
    return {"var": attribute}


def is_there(read: Logic) -> Logic:
    """The condition that there is an attribute."""
    return {"!==": [read, None]}


def constraint_of(constraint: model.Constraint, notebook: Notebook) -> Logic:
    """A constraint.

    Args:
        constraint: Ours.
        notebook: Takes what flagd cannot be told, under the constraint's path.
    """
    found = _constraint(constraint, notebook)
    return opposite(found) if constraint.inverted else found


def _constraint(constraint: model.Constraint, notebook: Notebook) -> Logic:
    operator, values = constraint.operator, constraint.values
    if operator in ("before", "after"):
        return _time(constraint, notebook)
    read = variable(constraint.attribute, notebook.at("attribute"))
    if operator == EXISTS:
        return is_there(read)
    if constraint.case_insensitive:
        notebook.at("case_insensitive").write("flagd cannot ignore case.")
    if operator in ("in", "not_in"):
        found: Logic = {"in": [read, _in_all_types(values)]} if values else False
        return opposite(found) if operator == "not_in" else found
    compare = _COMPARISONS.get(operator)
    if compare is None:
        notebook.at("operator").write(f"flagd has nothing like {operator}.")
        return False
    tests = [compare(operator, read, value) for value in values]
    return all_of([is_there(read), any_of(tests)])


def _in_all_types(values: Sequence[model.Scalar]) -> list[model.Scalar]:
    """Values as texts, and as what else they may be: ours are compared by their texts, flagd's by their types."""
    found: list[model.Scalar] = []
    for value in values:
        text = canonical_text(value) or ""
        found.append(text)
        if text in ("true", "false"):
            found.append(text == "true")
        elif (read := number(text)) is not None and canonical_text(read) == text:
            found.append(read)
    return found


def _time(constraint: model.Constraint, notebook: Notebook) -> Logic:
    read = moment(constraint.values[0])
    if constraint.attribute != model.CURRENT_TIME or read is None or read.microsecond:
        notebook.write("flagd knows no times but the current one, in whole seconds.")
        return False
    sign = "<" if constraint.operator == "before" else ">"
    return {sign: [{"var": "$flagd.timestamp"}, int(read.timestamp())]}


_COMPARISONS: Final[Mapping[str, Callable[[str, Logic, Any], Logic]]] = {
    "starts_with": lambda operator, read, value: {operator: [read, canonical_text(value)]},
    "ends_with": lambda operator, read, value: {operator: [read, canonical_text(value)]},
    "contains": lambda _operator, read, value: {"in": [canonical_text(value), read]},
    "=": lambda _operator, read, value: {"==": [read, number(value)]},
    **dict.fromkeys(_SIZES, lambda operator, read, value: {operator: [read, number(value)]}),
    **dict.fromkeys(_VERSIONS, lambda operator, read, value: {"sem_ver": [read, _VERSIONS[operator], value]}),
}


def segment_of(segment: model.Segment, notebook: Notebook) -> Logic:
    """Membership of a segment.

    Args:
        segment: Ours.
        notebook: Takes what flagd cannot be told, under the segment's path.
    """
    if segment.members is not None:
        notebook.at("members").write(f"The {segment.members.count:,} keys of a long list are not in a document.")
    keys = [key for key in segment.targeting_keys if key]
    listed: Logic = {"in": [{"var": "targetingKey"}, keys]} if keys else False
    described = [
        constraint_of(constraint, notebook.at("constraints").at(position))
        for position, constraint in enumerate(segment.constraints)
    ]
    return any_of([listed, all_of(described)]) if described else listed


def rollout_of(rollout: model.Rollout, key: str, notebook: Notebook) -> Logic:
    """Whether a rollout lets a context in.

    Args:
        rollout: Ours.
        key: The flag's.
        notebook: Takes what flagd cannot be told, under the rollout's path.
    """
    share = thousandths(rollout.percentage)
    if share <= 0:
        return False
    if share >= BUCKETS:
        drawn = rollout.by in (model.BY_DEFAULT, model.BY_RANDOM)
        return True if drawn else is_there(variable(rollout.by, notebook.at("by")))
    read = _hashed(rollout.by, notebook)
    notebook.write(REDRAWN, "redrawn")
    drawn_by = {"cat": [f"{rollout.salt or key}:", read]}
    draw = {"fractional": [drawn_by, ["in", share], ["out", BUCKETS - share]]}
    return all_of([is_there(read), {"==": [draw, "in"]}])


def split_of(split: model.Split, names: Mapping[str, str | None], key: str, notebook: Notebook) -> Logic:
    """What is served of a split.

    Args:
        split: Ours.
        names: What is served for each variant.
        key: The flag's.
        notebook: Takes what flagd cannot be told, under the split's path.
    """
    read = _hashed(split.by, notebook)
    notebook.write(REDRAWN, "redrawn")
    shares = [(names[one.variant], one.weight) for one in split.variants if one.weight > 0]
    if any(name is None for name, _ in shares):
        notebook.write("flagd cannot share out the caller's own default.")
    if sum(weight for _, weight in shares) > LARGEST_WEIGHT_SUM:
        notebook.write("flagd cannot add such large weights.")
    # Drawn apart from the rollout, whose draw would otherwise decide this one as well.
    drawn_by = {"cat": [f"{split.salt or key}:variant:", read]}
    return {"fractional": [drawn_by, *([name, weight] for name, weight in shares)]}


def _hashed(by: str, notebook: Notebook) -> Logic:
    if by == model.BY_RANDOM:
        notebook.at("by").write("flagd cannot draw at random.")
    return variable(model.TARGETING_KEY if by in (model.BY_DEFAULT, model.BY_RANDOM) else by, notebook.at("by"))
