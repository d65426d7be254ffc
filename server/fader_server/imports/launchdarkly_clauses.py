"""LaunchDarkly's clauses as constraints and segments of ours.

A clause may name several segments, any of which will do, and a rule of ours asks for all that it names. So what a list
of clauses comes to is a list of alternatives, of which each becomes a rule.

Differences that no document can show lie in what an application passes: ``PASSED`` tells of them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from fader import model
from fader.operators import EXISTS, OPERATORS
from fader.operators.times import moment
from fader.operators.versions import precedence
from fader_server.imports.launchdarkly_model import Clause
from fader_server.unleash.constraints import NEVER
from fader_server.unleash.contexts import RESERVED
from fader_server.unleash.notes import Notebook

USER: Final = "user"
"""The kind of context that a user is, and the only one that there is here."""
PASSED: Final = (
    "Have applications pass numbers as numbers, times as datetime or RFC 3339 text, and versions whole, like 2.1.0:"
    " LaunchDarkly takes no text for a number, milliseconds for a time, and 2.1 for a version; and Fader compares the"
    " texts of all values, so that 7 and '7' are the same."
)
"""What is to be known about attributes of all kinds."""
_MOST: Final = 20
"""Alternatives that one list of clauses may come to."""

_ANONYMOUS: Final = "anonymous"
"""The one attribute that is false where it is missing."""
_BAD_ESCAPE: Final = re.compile("~(?![01])")


class Alternative(Struct, frozen=True):
    """What all has to hold."""

    constraints: tuple[model.Constraint, ...] = ()
    segments: tuple[str, ...] = ()


class KnownSegment(Struct, frozen=True, kw_only=True):
    """What a segment of LaunchDarkly's has become: segments of ours, any of which will do. ``listed`` are its keys, if
    it has nothing else."""

    keys: tuple[str, ...]
    listed: tuple[str, ...] | None = None


def alternatives(
    clauses: Sequence[Clause], segments: Mapping[str, KnownSegment], notebook: Notebook
) -> list[Alternative]:
    """Everything that comes to all of these clauses holding.

    Args:
        clauses: Of a rule.
        segments: What there is, by LaunchDarkly's key.
        notebook: Takes what cannot be carried exactly, under the rule's path.
    """
    found = [Alternative()]
    for position, clause in enumerate(clauses):
        place = notebook.at("clauses").at(position)
        options = _clause(clause, segments, place)
        if len(found) * len(options) > _MOST:
            place.write(f"With it, the rule would become more than {_MOST} rules.")
            return [Alternative((NEVER,))]
        found = [
            Alternative((*one.constraints, *other.constraints), (*one.segments, *other.segments))
            for one in found
            for other in options
        ]
    return found


def is_of_users(kind: str | None, notebook: Notebook) -> bool:
    """Whether this kind of context is the one that there is; noted if it is not."""
    if kind in (None, "", USER):
        return True
    notebook.at("contextKind").write(f"Contexts of the kind {kind!r} are not known here: there are only users.")
    return False


def _clause(clause: Clause, segments: Mapping[str, KnownSegment], notebook: Notebook) -> list[Alternative]:
    if clause.op == "segmentMatch":
        return _segment_match(clause, segments, notebook)
    if not is_of_users(clause.context_kind, notebook):
        return [Alternative((NEVER,))]
    attribute = _attribute(clause, notebook)
    if attribute == _ANONYMOUS and clause.op == "in" and clause.values in ((True,), (False,)):
        wanted = clause.values[0] is not bool(clause.negate)
        return [
            Alternative((model.Constraint(attribute=attribute, operator="in", values=(True,), inverted=not wanted),))
        ]
    build = _OPERATORS.get(clause.op)
    if build is None:
        notebook.at("op").write(f"There is no operator {clause.op!r}.")
        return [Alternative((NEVER,))]
    constraint = build(attribute, clause.values or (), notebook.at("values"))
    if not clause.negate:
        return [Alternative((constraint,))]
    inverted = replace(constraint, inverted=not constraint.inverted)
    if attribute == model.TARGETING_KEY:
        return [Alternative((inverted,))]
    # A missing attribute never matches, not even negated.
    return [Alternative((model.Constraint(attribute=attribute, operator=EXISTS), inverted))]


def _segment_match(clause: Clause, segments: Mapping[str, KnownSegment], notebook: Notebook) -> list[Alternative]:
    named = [str(value) for value in clause.values or ()]
    for position, name in enumerate(named):
        if name not in segments:
            notebook.at("values").at(position).write(
                f"There is no segment {name!r} in the document. Add the segments of the environment to it."
            )
    known = [segments[name] for name in named if name in segments]
    if not clause.negate:
        return [Alternative(segments=(key,)) for one in known for key in one.keys] or [Alternative((NEVER,))]
    listed = [one.listed for one in known]
    if any(keys is None for keys in listed):
        notebook.at("negate").write("Only segments that are nothing but lists of keys can be negated here.")
        return [Alternative((NEVER,))]
    return [Alternative(tuple(_is_none_of(keys) for keys in listed if keys))]


def _is_none_of(keys: Sequence[str]) -> model.Constraint:
    return model.Constraint(attribute=model.TARGETING_KEY, operator="in", values=tuple(keys), inverted=True)


def _attribute(clause: Clause, notebook: Notebook) -> str:
    name, place = clause.attribute, notebook.at("attribute")
    if clause.context_kind and name.startswith("/"):
        # A reference, in which slashes lead into objects.
        if "/" in name[1:] or _BAD_ESCAPE.search(name):
            place.write(f"{name!r} leads into an object, or nowhere, and attributes here are no objects.")
        name = name[1:].replace("~1", "/").replace("~0", "~")
    if name == "key":
        return model.TARGETING_KEY
    if name == "kind":
        place.write("Contexts have no kinds here.")
    elif name in RESERVED:
        place.write(f"The attribute {name!r} is named like one that Fader knows by itself.")
    elif not name:
        place.write("The attribute has no name.")
    return name or "?"


def _one_of(attribute: str, values: Sequence[Any], notebook: Notebook) -> model.Constraint:
    scalars = tuple(value for value in values if isinstance(value, str | int | float))
    if len(scalars) < len(values):
        notebook.write("Only texts, numbers and booleans can be compared with.")
    return model.Constraint(attribute=attribute, operator="in", values=scalars)


def _on_texts(operator: str) -> Callable[[str, Sequence[Any], Notebook], model.Constraint]:
    def build(attribute: str, values: Sequence[Any], notebook: Notebook) -> model.Constraint:
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) < len(values):
            notebook.remark("Values that are no texts match nothing, and are left out.")
        for position, fault in OPERATORS[operator].check(texts) if texts else ():
            (notebook if position is None else notebook.at(position)).write(f"{fault}.")
        return _or_never(attribute, operator, texts)

    return build


def _on_numbers(operator: str, of: Callable[[list[Any]], Any]) -> Callable[..., model.Constraint]:
    """Any of several numbers will do, which is to say: the one that is easiest to pass."""

    def build(attribute: str, values: Sequence[Any], notebook: Notebook) -> model.Constraint:
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            notebook.remark("Values that are no numbers match nothing, and are left out.")
        return _or_never(attribute, operator, (of(numbers),) if numbers else ())

    return build


def _on_times(operator: str, of: Callable[[list[Any]], Any]) -> Callable[..., model.Constraint]:
    def build(attribute: str, values: Sequence[Any], notebook: Notebook) -> model.Constraint:
        times = [read for value in values if (read := _moment(value)) is not None]
        if len(times) < len(values):
            notebook.remark("Values that are no times match nothing, and are left out.")
        return _or_never(attribute, operator, (of(times).isoformat(),) if times else ())

    return build


def _moment(value: Any) -> datetime | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return moment(value) if isinstance(value, str) else None


def _on_versions(operator: str, of: Callable[..., Any] | None) -> Callable[..., model.Constraint]:
    def build(attribute: str, values: Sequence[Any], notebook: Notebook) -> model.Constraint:
        versions = [read for value in values if (read := _whole_version(value)) is not None]
        if len(versions) < len(values):
            notebook.remark("Values that are no versions match nothing, and are left out.")
        if of is not None and versions:
            versions = [of(versions, key=precedence)]
        return _or_never(attribute, operator, tuple(versions))

    return build


def _whole_version(value: Any) -> str | None:
    """A version, with zeros for the numbers that are not there."""
    if not isinstance(value, str):
        return None
    numbers = value[: len(value) - len(value.lstrip("0123456789."))]
    whole = f"{numbers}{'.0' * (2 - numbers.count('.'))}{value[len(numbers) :]}"
    return whole if precedence(whole) is not None else None


def _or_never(attribute: str, operator: str, values: tuple[Any, ...]) -> model.Constraint:
    # Without values: the operator that may have none, and never holds then either.
    return model.Constraint(attribute=attribute, operator=operator if values else "in", values=values)


_OPERATORS: Final[Mapping[str, Callable[[str, Sequence[Any], Notebook], model.Constraint]]] = {
    "in": _one_of,
    "startsWith": _on_texts("starts_with"),
    "endsWith": _on_texts("ends_with"),
    "contains": _on_texts("contains"),
    "matches": _on_texts("matches"),
    "lessThan": _on_numbers("<", max),
    "lessThanOrEqual": _on_numbers("<=", max),
    "greaterThan": _on_numbers(">", min),
    "greaterThanOrEqual": _on_numbers(">=", min),
    "before": _on_times("before", max),
    "after": _on_times("after", min),
    "semVerEqual": _on_versions("semver_eq", None),
    "semVerLessThan": _on_versions("semver_lt", max),
    "semVerGreaterThan": _on_versions("semver_gt", min),
}
