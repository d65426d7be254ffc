"""Unleash's constraints as ours: same attribute, same test, one operator at a time.

A rule value that Unleash's engines cannot read makes the constraint false before inversion. Ours are refused
when written, so such a constraint becomes a test that holds for nobody, which inverts to one that holds for
everybody.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import re2  # type: ignore[import-untyped]

from fader import model
from fader_server.unleash.contexts import RESERVED, attribute_name
from fader_server.unleash.model import Constraint
from fader_server.unleash.notes import Notebook

NEVER: Final = model.Constraint(attribute=model.TARGETING_KEY, operator="in")
"""Holds for no context at all, and may be written like any other constraint."""
ALWAYS: Final = model.Constraint(attribute=model.TARGETING_KEY, operator="in", inverted=True)
"""Holds for every context."""

_TEXT_OPERATORS: Final = {
    "STR_STARTS_WITH": "starts_with",
    "STR_ENDS_WITH": "ends_with",
    "STR_CONTAINS": "contains",
}
_LIST_OPERATORS: Final = {"IN": "in", "NOT_IN": "not_in"}
_NUMBER_OPERATORS: Final = {"NUM_EQ": "=", "NUM_GT": ">", "NUM_GTE": ">=", "NUM_LT": "<", "NUM_LTE": "<="}
_TIME_OPERATORS: Final = {"DATE_AFTER": "after", "DATE_BEFORE": "before"}
_VERSION_OPERATORS: Final = {
    "SEMVER_EQ": "semver_eq",
    "SEMVER_GT": "semver_gt",
    "SEMVER_GTE": "semver_ge",
    "SEMVER_LT": "semver_lt",
    "SEMVER_LTE": "semver_le",
}

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_NETWORK: Final = re.compile(r"[0-9a-fA-F:.]+(?:/\d{1,3})?", re.ASCII)
_VERSION: Final = re.compile(
    # https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string
    r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)"
    r"(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def as_text(value: Any) -> str:
    """The text that JavaScript makes of a JSON scalar, since that is how Unleash's admin pages wrote it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def parse_number(text: str) -> int | float | None:
    """A decimal number, or None for anything else; integral ones come back as int."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if not number.is_integer():
        return number if abs(number) != float("inf") else None
    return int(number)


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
    name = constraint.operator
    if (operator := _LIST_OPERATORS.get(name)) is not None:
        # Unleash's engines ignore caseInsensitive here.
        return _carried(constraint, operator, _texts(constraint.values))
    if (operator := _TEXT_OPERATORS.get(name)) is not None:
        return _carried(constraint, operator, _texts(constraint.values), bool(constraint.case_insensitive))
    if (operator := _NUMBER_OPERATORS.get(name)) is not None:
        return _comparison(constraint, operator, _read_number, notebook.at("value"))
    if (operator := _TIME_OPERATORS.get(name)) is not None:
        if constraint.context_name != "currentTime":
            notebook.at("contextName").write(
                "Unleash's engines disagree about times other than currentTime: some compare the field, as"
                " Fader does, others always compare the current time."
            )
        return _comparison(constraint, operator, _read_time, notebook.at("value"))
    if (operator := _VERSION_OPERATORS.get(name)) is not None:
        return _comparison(constraint, operator, _read_version, notebook.at("value"))
    if name == "REGEX":
        return _comparison(constraint, "matches", _read_pattern, notebook.at("value"))
    if name == "IN_CIDR":
        networks = readable_networks(_texts(constraint.values), notebook.at("values"))
        return _carried(constraint, "in_cidr", networks)
    notebook.at("operator").write(f"The operator {name!r} is not known, so the constraint never holds.")
    return NEVER  # never inverted either, as in Unleash


def readable_networks(texts: Sequence[str], notebook: Notebook) -> tuple[str, ...]:
    """Those of some addresses and networks that can be read; Unleash skips the others, and so do we, with
    a note."""
    readable = []
    for position, text in enumerate(texts):
        if _is_network(text):
            readable.append(text)
        else:
            notebook.at(position).write(f"{text!r} is neither an address nor a network, and is left out.")
    return tuple(readable)


def _carried(
    constraint: Constraint, operator: str, values: tuple[model.Scalar, ...], case_insensitive: bool = False
) -> model.Constraint:
    """The constraint with its operator exchanged; without any value, which ours may lack only for ``in``, a
    test that gives the same answer."""
    if not values and operator != "not_in":
        operator, case_insensitive = "in", False
    return model.Constraint(
        attribute=attribute_name(constraint.context_name),
        operator=operator,
        values=values,
        inverted=bool(constraint.inverted),
        case_insensitive=case_insensitive,
    )


def _comparison(
    constraint: Constraint,
    operator: str,
    read: Callable[[str, Notebook], model.Scalar | None],
    notebook: Notebook,
) -> model.Constraint:
    value = read(as_text(constraint.value), notebook)
    case_insensitive = operator == "matches" and bool(constraint.case_insensitive)
    return _carried(constraint, operator, () if value is None else (value,), case_insensitive)


def _texts(values: Sequence[Any] | None) -> tuple[str, ...]:
    return tuple(as_text(value) for value in values or ())


def _read_number(text: str, notebook: Notebook) -> int | float | None:
    number = parse_number(text)
    if number is None:
        notebook.write(f"{text!r} is not a number, so the constraint compares with nothing.")
    return number


def _read_time(text: str, notebook: Notebook) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        notebook.write(f"{text!r} is not a time, so the constraint compares with nothing.")
        return None
    if _TIME.fullmatch(text):
        return text
    normal = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
    notebook.write(f"Unleash's engines disagree about the time {text!r}; it is read as {normal!r}.")
    return normal


def _read_version(text: str, notebook: Notebook) -> str | None:
    if _VERSION.fullmatch(text):
        return text
    notebook.write(f"{text!r} is not a semantic version, so the constraint compares with nothing.")
    return None


def _read_pattern(text: str, notebook: Notebook) -> str | None:
    quiet = re2.Options()
    quiet.log_errors = False
    try:
        re2.compile(text, quiet)
    except re2.error as error:
        notebook.write(f"{text!r} is not a pattern in RE2's syntax ({error}), so it matches nothing.")
        return None
    return text


def _is_network(text: str) -> bool:
    if not _NETWORK.fullmatch(text):  # keeps out zones and netmasks, which Python reads and Unleash does not
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
