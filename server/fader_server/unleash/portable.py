"""Our constraints as Unleash's: exactly, or so that they hold for fewer.

The other way round than ``constraints``, and stricter: only what all of Unleash's engines answer alike is sent.
"""

import ipaddress
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from typing import Final, TypeAlias

from msgspec import UNSET, Struct
from msgspec.structs import replace

from fader import model
from fader.context import canonical_text
from fader.operators import EXISTS, OPERATORS
from fader.operators.numbers import number
from fader.operators.times import moment
from fader.operators.versions import precedence
from fader_server.unleash.clauses import EVERYBODY, NOBODY, Clauses, refuse_too_many
from fader_server.unleash.contexts import FIELDS
from fader_server.unleash.notes import Notebook
from fader_server.unleash.portable_patterns import portable_pattern
from fader_server.unleash.wire import WireConstraint

_NAMES: Final = {ours: theirs for theirs, ours in FIELDS.items()}
_TAKEN: Final = (FIELDS.keys() - FIELDS.values()) | {"properties"}
"""Names that mean something else to Unleash's SDKs, so that no attribute of ours can be asked for by them."""

_FALLING_BACK: Final = frozenset({model.ENVIRONMENT, model.CURRENT_TIME})
"""Attributes that no context is without here, so that hashing them is not what Unleash does with them."""

_LARGEST_EXACT: Final = 2**53


class Written(Struct, frozen=True):
    """A value as Unleash's SDKs read it, and why they let in fewer by it, if they do."""

    text: str
    cause: str = ""


Writer: TypeAlias = Callable[[str, bool], Written | None]
"""Writes a value, given its text and whether the constraint is inverted; ``None`` if Unleash's SDKs cannot be relied
on to read it so that they let in no more."""


def clauses_of(constraint: model.Constraint, causes: Notebook) -> Clauses:
    """Those for whom a constraint holds, or fewer.

    Args:
        constraint: Ours.
        causes: Takes why they are fewer, as what "Unleash SDKs" do: a verb and what follows.

    Raises:
        TooManyError: if it compares with more values than there may be tests.
    """
    if constraint.operator == "not_in":
        constraint = replace(constraint, operator="in", inverted=not constraint.inverted)
    if constraint.operator == EXISTS:
        return _existence(constraint, causes)
    operator = OPERATORS.get(constraint.operator)
    if operator is None:
        return NOBODY  # newer than this server, and then not inverted either
    least, most = operator.fewest, operator.most
    readable: tuple[str, ...] = ()
    if len(constraint.values) >= least and (most is None or len(constraint.values) <= most):
        unreadable = {position for position, _ in operator.check(constraint.values)}
        texts = (canonical_text(value) for value in constraint.values)
        readable = tuple(text for position, text in enumerate(texts) if text is not None and position not in unreadable)
    if not readable:
        return EVERYBODY if constraint.inverted else NOBODY
    name = context_name(constraint.attribute, causes.at("attribute"))
    if name is None:
        return NOBODY
    if not _can_be_asked(constraint, causes):
        return NOBODY
    return _with_values(constraint, name, readable, causes)


def clauses_of_opposite(constraint: model.Constraint, causes: Notebook) -> Clauses:
    """Those for whom a constraint does not hold, or fewer."""
    if constraint.operator not in OPERATORS and constraint.operator != EXISTS:
        return EVERYBODY
    return clauses_of(replace(constraint, inverted=not constraint.inverted), causes)


def context_name(attribute: str, causes: Notebook) -> str | None:
    """What an attribute is called in Unleash's contexts; ``None`` if nothing is, which is noted."""
    if attribute in _TAKEN:
        causes.write(f"mean something of their own by {attribute!r}")
        return None
    if not _is_plain(attribute) or "\\" in attribute or '"' in attribute:
        causes.write("cannot read names with blanks at their ends, quotation marks, backslashes or control characters")
        return None
    return _NAMES.get(attribute, attribute)


def stickiness(by: str, causes: Notebook) -> str | None:
    """Unleash's word for what a rollout or split goes by; ``None`` if it has none, which is noted."""
    if by in _FALLING_BACK:
        causes.write(f"do not share out by {by!r} as Fader does")
        return None
    return by if by in (model.BY_DEFAULT, model.BY_RANDOM) else context_name(by, causes)


def group_id(salt: str, causes: Notebook) -> str | None:
    """A salt as Unleash's ``groupId``; ``None`` if it cannot be one, which is noted."""
    if not _is_plain(salt) or "\\" in salt or '"' in salt:
        causes.write("cannot read salts with blanks at their ends, quotation marks, backslashes or control characters")
        return None
    return salt


def _existence(constraint: model.Constraint, causes: Notebook) -> Clauses:
    if constraint.attribute in _FALLING_BACK:
        return NOBODY if constraint.inverted else EVERYBODY
    name = context_name(constraint.attribute, causes.at("attribute"))
    if name is None:
        return NOBODY
    # An empty targeting key is none.
    pattern = "(?s)." if constraint.attribute == model.TARGETING_KEY else "^"
    return ((WireConstraint(context_name=name, operator="REGEX", value=pattern, inverted=constraint.inverted),),)


def _can_be_asked(constraint: model.Constraint, causes: Notebook) -> bool:
    asks_for_time = constraint.operator in ("before", "after")
    if constraint.attribute == model.CURRENT_TIME and not asks_for_time:
        causes.at("operator").write("can only ask whether the current time is before or after another")
        return False
    if asks_for_time and constraint.attribute != model.CURRENT_TIME:
        causes.at("attribute").write("compare no times but the current one")
        return False
    if constraint.attribute == model.ENVIRONMENT:
        causes.at("attribute").remark("compare the environment that the application names, and not that of its key")
    return True


def _with_values(constraint: model.Constraint, name: str, texts: Sequence[str], causes: Notebook) -> Clauses:
    theirs, listed, write = _OPERATORS[constraint.operator]
    values: list[str] = []
    for position, text in enumerate(texts):
        written = write(text, constraint.inverted) if _is_plain(text) else None
        if written is None:
            causes.at("values").at(position).write(f"cannot be relied on to compare with {_shortened(text)}")
            if constraint.inverted:
                return NOBODY
        else:
            values.append(written.text)
            if written.cause:
                causes.at("values").at(position).write(written.cause)
    tests = [
        WireConstraint(
            context_name=name,
            operator=theirs,
            values=given if listed else UNSET,
            value=UNSET if listed else given[0],
            inverted=constraint.inverted,
            case_insensitive=constraint.case_insensitive and OPERATORS[constraint.operator].folds_case,
        )
        for given in dict.fromkeys([tuple(values)] if listed and values else [(value,) for value in values])
    ]
    refuse_too_many(len(tests))
    return (tuple(tests),) if constraint.inverted else tuple((test,) for test in tests)


def _is_plain(text: str) -> bool:
    """Whether all engines read a text as it stands: some trim it, and some lose their way in it."""
    return (
        text != ""
        and text == text.strip()
        and text == text.strip("\ufeff")
        and not text.endswith("\\")
        and '\\"' not in text
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    )


def _text(text: str, _inverted: bool) -> Written:
    return Written(text)


def _number(text: str, _inverted: bool) -> Written | None:
    read = number(text)
    # Up to here, integers and their floats are in the same order.
    if read is None or abs(read) >= _LARGEST_EXACT:
        return None
    return Written(canonical_text(read) or "")


def _before(text: str, inverted: bool) -> Written | None:
    # Fewer than those before a time are those before an earlier one, and fewer than those not before it are those not
    # before a later one.
    return _time(text, upwards=inverted)


def _after(text: str, inverted: bool) -> Written | None:
    return _time(text, upwards=not inverted)


def _time(text: str, *, upwards: bool) -> Written | None:
    read = moment(text)
    if read is None:
        return None
    try:
        exact = read.astimezone(UTC)
        finer = timedelta(microseconds=exact.microsecond % 1000)
        whole = exact - finer + timedelta(milliseconds=1 if finer and upwards else 0)
    except OverflowError:
        return None
    written = whole.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return Written(written, f"compare milliseconds, and {text} is sent as {written}" if finer else "")


def _version(text: str, _inverted: bool) -> Written | None:
    version = text.partition("+")[0]  # what comes after it is no part of the order, and not all engines know
    read = precedence(version)
    if read is None:
        return None
    numbers = [*read[:3], *(identifier[1] for identifier in read[4])]
    return Written(version) if max(numbers) < _LARGEST_EXACT else None


def _pattern(text: str, inverted: bool) -> Written | None:
    pattern = portable_pattern(text)
    if pattern is None or not _is_plain(pattern.text) or (inverted and not pattern.is_exact):
        return None
    return Written(pattern.text, "" if pattern.is_exact else "take more letters than those of ASCII for parts of words")


def _network(text: str, _inverted: bool) -> Written | None:
    if "%" in text:
        return None
    try:
        return Written(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        return None


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


_OPERATORS: Final[dict[str, tuple[str, bool, Writer]]] = {
    "in": ("IN", True, _text),
    "starts_with": ("STR_STARTS_WITH", True, _text),
    "ends_with": ("STR_ENDS_WITH", True, _text),
    "contains": ("STR_CONTAINS", True, _text),
    "matches": ("REGEX", False, _pattern),
    "=": ("NUM_EQ", False, _number),
    "<": ("NUM_LT", False, _number),
    "<=": ("NUM_LTE", False, _number),
    ">": ("NUM_GT", False, _number),
    ">=": ("NUM_GTE", False, _number),
    "before": ("DATE_BEFORE", False, _before),
    "after": ("DATE_AFTER", False, _after),
    "semver_eq": ("SEMVER_EQ", False, _version),
    "semver_gt": ("SEMVER_GT", False, _version),
    "semver_ge": ("SEMVER_GTE", False, _version),
    "semver_lt": ("SEMVER_LT", False, _version),
    "semver_le": ("SEMVER_LTE", False, _version),
    "in_cidr": ("IN_CIDR", True, _network),
}
"""Unleash's name of each operator, whether it takes a list, and how it wants its values written."""
