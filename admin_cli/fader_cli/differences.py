"""What a change changed, in words, from the documents before and after it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fader.model import Constraint, Prerequisite, Rule
from fader_cli.conditions import format_condition
from fader_cli.sentences import prerequisite_sentence, rule_sentence

_LINE: Final = 64
"""Characters up to which ``before → after`` goes on one line."""

_SHOWN: Final = 20
"""Items of a list that are named one by one."""


def differences(before: Any, after: Any) -> list[str]:
    """What is different, a line each: ``+`` for what came, ``-`` for what went, ``~`` for what is otherwise now.

    Args:
        before: The document before the change, or ``None``.
        after: The same after it.

    >>> differences({"enabled": False}, {"enabled": True})
    ['~ OFF → ON']
    """
    old, new = _facts(before), _facts(after)
    if before is None or after is None:
        # What came or went as a whole: only that it is unlike any other is worth a line.
        old, new = ({place: fact for place, fact in facts.items() if fact not in _ORDINARY} for facts in (old, new))
    lines: list[str] = []
    for place in {**old, **new}:
        lines += _difference(place, old.get(place), new.get(place))
    if not lines and before is not None and after is not None and _rule_ids(before) != _rule_ids(after):
        lines.append("~ rules in another order")
    return lines


def _difference(place: str, was: "_Fact | None", now: "_Fact | None") -> list[str]:
    if was == now:
        return []
    if isinstance(was, tuple) or isinstance(now, tuple):
        had, has = was or (), now or ()
        gone, came = _Items(had).without(has), _Items(has).without(had)
        return [f"- {place}: {gone}"] * bool(gone) + [f"+ {place}: {came}"] * bool(came)
    label = f"{place}: " if place else ""
    if was is not None and now is not None and len(label) + len(was) + len(now) <= _LINE:
        return [f"~ {label}{was} → {now}"]
    return [f"{sign} {label}{fact}".rstrip(": ") for sign, fact in (("-", was), ("+", now)) if fact is not None]


class _Items(list[str]):
    """Some items of a list, as text that stays short."""

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(items)

    def without(self, others: Sequence[str]) -> "_Items":
        known = set(others)
        return _Items([item for item in self if item not in known])

    def __str__(self) -> str:
        more = len(self) - _SHOWN
        return ", ".join(self[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


_Fact = str | tuple[str, ...]


def _facts(document: Any, place: str = "") -> dict[str, _Fact]:
    """Everything that a document says, by the place where it says it."""
    if document is None or document in ("", [], ()):
        return {}
    if isinstance(document, Mapping):
        return {
            where: fact
            for name, value in document.items()
            if name not in _BOOKKEEPING
            for where, fact in _facts(value, f"{place}.{name}" if place else name).items()
        }
    if isinstance(document, Sequence) and not isinstance(document, str):
        in_words = _LISTS.get(place)
        return {place: tuple(map(str, document))} if in_words is None else in_words(document)
    if place in _SWITCHES:
        no, yes = _SWITCHES[place]
        return {"": yes if document else no} if place == "enabled" else {place: yes if document else no}
    return {place: str(document)}


def _rules(items: Sequence[Any]) -> dict[str, _Fact]:
    rules = msgspec.convert(items, tuple[Rule, ...])
    return {
        f"rule {rule.id}": rule_sentence(rule) + (f" “{rule.description}”" if rule.description else "")
        for rule in rules
    }


def _prerequisites(items: Sequence[Any]) -> dict[str, _Fact]:
    return {prerequisite_sentence(one): "" for one in msgspec.convert(items, tuple[Prerequisite, ...])}


def _variants(items: Sequence[Any]) -> dict[str, _Fact]:
    return {f"variant {one['name']}": msgspec.json.encode(one.get("value")).decode() for one in items}


def _constraints(items: Sequence[Any]) -> dict[str, _Fact]:
    return {f"if {format_condition(one)}": "" for one in msgspec.convert(items, tuple[Constraint, ...])}


def _rule_ids(document: Any) -> list[Any]:
    return [rule.get("id") for rule in document.get("rules") or ()] if isinstance(document, Mapping) else []


_LISTS: Final[dict[str, Callable[[Sequence[Any]], dict[str, _Fact]]]] = {
    "rules": _rules,
    "prerequisites": _prerequisites,
    "variants": _variants,
    "constraints": _constraints,
}
_SWITCHES: Final = {"enabled": ("OFF", "ON"), "archived": ("no", "yes")}
_ORDINARY: Final = frozenset({"OFF", "no", "release", "boolean", "off"})
_BOOKKEEPING: Final = frozenset(
    {"created_at", "updated_at", "updated_by", "archived_at", "revision", "project", "key", "id"}
)
