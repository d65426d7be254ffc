"""Unleash's constraints as ours: same attribute, same test, one operator at a time.

A rule value that Unleash's engines cannot read makes the constraint false before inversion. Ours are refused
when written, so such a constraint becomes a test that holds for nobody, and inverted for everybody.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fader import model
from fader.operators import OPERATORS
from fader.operators.numbers import number
from fader.operators.times import moment
from fader_server.unleash.contexts import RESERVED, attribute_name
from fader_server.unleash.model import Constraint
from fader_server.unleash.notes import Notebook

NEVER: Final = model.Constraint(attribute=model.TARGETING_KEY, operator="in")
"""Holds for no context at all, and may be written like any other constraint."""
ALWAYS: Final = model.Constraint(attribute=model.TARGETING_KEY, operator="in", inverted=True)
"""Holds for every context."""

_ON_VALUES: Final = {
    "IN": "in",
    "NOT_IN": "not_in",
    "STR_STARTS_WITH": "starts_with",
    "STR_ENDS_WITH": "ends_with",
    "STR_CONTAINS": "contains",
    "IN_CIDR": "in_cidr",
}
_ON_ONE_VALUE: Final = {
    "NUM_EQ": "=",
    "NUM_GT": ">",
    "NUM_GTE": ">=",
    "NUM_LT": "<",
    "NUM_LTE": "<=",
    "DATE_AFTER": "after",
    "DATE_BEFORE": "before",
    "SEMVER_EQ": "semver_eq",
    "SEMVER_GT": "semver_gt",
    "SEMVER_GTE": "semver_ge",
    "SEMVER_LT": "semver_lt",
    "SEMVER_LTE": "semver_le",
    "REGEX": "matches",
}

_SKIPPING: Final = frozenset({*_ON_VALUES.values(), "matches"})
"""Operators with which all of Unleash's engines leave out what they cannot read."""
_PLAIN_NUMBER: Final = re.compile(r"[+-]?[0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?")
_PLAIN_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_BEYOND_ASCII: Final = re.compile(r"\\[bBdDsSwW]")


def as_text(value: Any) -> str:
    """The text that JavaScript makes of a JSON scalar, since that is how Unleash's admin pages wrote it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def translate_constraint(constraint: Constraint, notebook: Notebook) -> model.Constraint:
    """Our constraint for one of Unleash's.

    Args:
        constraint: Of a strategy or of a segment.
        notebook: Takes what cannot be carried exactly, under the constraint's path.
    """
    if constraint.context_name in RESERVED:
        notebook.at("contextName").write(
            f"The property {constraint.context_name!r} is named like an attribute that Fader knows by itself."
        )
    if (operator := _ON_VALUES.get(constraint.operator)) is not None:
        texts, place = tuple(as_text(value) for value in constraint.values or ()), notebook.at("values")
        values: tuple[model.Scalar, ...] = readable_values(operator, texts, place)
        _note_blanks(texts, place)
        if not values and constraint.inverted and operator not in ("in", "not_in"):
            place.write(
                "Unleash's engines disagree about an inverted constraint without values; here it holds.", "disputed"
            )
    elif (operator := _ON_ONE_VALUE.get(constraint.operator)) is not None:
        place = notebook.at("value")
        text = as_text(constraint.value)
        if operator in ("before", "after"):
            _note_other_times(constraint, notebook)
            text = _as_rfc3339(text, place)
        values = readable_values(operator, (text,), place)
        if operator == "matches" and _BEYOND_ASCII.search(text):
            place.remark("Unleash's engines disagree about what \\d, \\s, \\w and \\b are beyond ASCII.")
        if constraint.operator.startswith("NUM_"):
            if values and not _PLAIN_NUMBER.fullmatch(text):
                place.write(f"Unleash's engines disagree about the number {text!r}.", "disputed")
            values = tuple(read for value in values if (read := number(value)) is not None)
    else:
        notebook.at("operator").write(
            f"The operator {constraint.operator!r} is not known, so the constraint never holds."
        )
        return NEVER  # never inverted either, as in Unleash
    if not values and operator != "not_in":
        operator = "in"  # the one that may go without values, and gives the same answer then
    return model.Constraint(
        attribute=attribute_name(constraint.context_name),
        operator=operator,
        values=values,
        inverted=bool(constraint.inverted),
        # Unleash's engines ignore it, too, for operators that do not fold case.
        case_insensitive=bool(constraint.case_insensitive) and OPERATORS[operator].folds_case,
    )


def readable_values(operator: str, texts: Sequence[str], notebook: Notebook) -> tuple[str, ...]:
    """Those of some values that an operator of ours can read; the others are left out, with a note each.

    Args:
        operator: Our name of it.
        texts: The values, as texts.
        notebook: Takes the notes, under the path of the list, or of the value where there is only one.
    """
    unreadable = {}
    for position, fault in OPERATORS[operator].check(texts):
        if position is not None:
            unreadable[position] = fault
            place = notebook.at(position) if operator in _ON_VALUES.values() else notebook
            if operator in _SKIPPING:
                place.remark(f"{fault}; the value is left out, as in Unleash.")
            else:
                place.write(
                    f"{fault}; the constraint is false, and with some of Unleash's engines the flag.", "disputed"
                )
    return tuple(text for position, text in enumerate(texts) if position not in unreadable)


def _note_blanks(texts: Sequence[str], notebook: Notebook) -> None:
    for position, text in enumerate(texts):
        if not text or text != text.strip():
            notebook.at(position).write(
                "Unleash's engines disagree about blanks around values and about empty values."
                " It is compared as it stands.",
                "disputed",
            )


def _note_other_times(constraint: Constraint, notebook: Notebook) -> None:
    if attribute_name(constraint.context_name) != model.CURRENT_TIME:
        notebook.at("contextName").write(
            "Unleash's engines disagree about times other than currentTime:"
            " some compare the field, as Fader does, others always compare the current time.",
            "disputed",
        )


def _as_rfc3339(text: str, notebook: Notebook) -> str:
    """The time in a form that we can read, where it has another that one of Unleash's engines could read."""
    if moment(text) is not None:
        if not _PLAIN_TIME.fullmatch(text):
            notebook.write(
                f"Unleash's engines disagree about the time {text!r}: with some, the flag is off.", "disputed"
            )
        return text
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return text
    normal = (read if read.tzinfo else read.replace(tzinfo=UTC)).isoformat()
    notebook.write(f"Unleash's engines disagree about the time {text!r}; it is read as {normal!r}.", "disputed")
    return normal
