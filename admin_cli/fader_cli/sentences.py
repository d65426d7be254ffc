"""Flags in words: what a rule does, what a change changed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fader.model import BY_DEFAULT, Constraint, Prerequisite, Rule
from fader_cli.conditions import format_condition
from fader_cli.percentages import format_percentage


def rules_of(configuration: Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a configuration as the admin API gives it."""
    return msgspec.convert(configuration["rules"], tuple[Rule, ...])


def prerequisites_of(configuration: Mapping[str, Any]) -> tuple[Prerequisite, ...]:
    """The same for prerequisites."""
    return msgspec.convert(configuration["prerequisites"], tuple[Prerequisite, ...])


def rule_sentence(rule: Rule) -> str:
    """What a rule does.

    >>> rule_sentence(Rule(id="a"))
    'everybody'
    """
    conditions = [format_condition(constraint) for constraint in rule.constraints]
    conditions += [f"in segment {segment}" for segment in rule.segments]
    who = " and ".join(conditions)
    share = rule.rollout.percentage
    if share != 100:
        by = "" if rule.rollout.by == BY_DEFAULT else f" by {rule.rollout.by}"
        salt = f" salted {rule.rollout.salt}" if rule.rollout.salt else ""
        who = f"{format_percentage(share)}{by}{salt}" + (f" of those with {who}" if who else " of everybody")
    who = who or "everybody"
    if rule.split is not None:
        shares = ", ".join(f"{weighted.variant}={weighted.weight}" for weighted in rule.split.variants)
        by = "" if rule.split.by == BY_DEFAULT else f" by {rule.split.by}"
        return f"{who} → {shares}{by}"
    return f"{who} → {rule.variant}" if rule.variant is not None else who


def prerequisite_sentence(prerequisite: Prerequisite) -> str:
    """What has to be so for a flag to be considered."""
    if prerequisite.variants:
        return f"needs {prerequisite.flag} on {' or '.join(prerequisite.variants)}"
    return f"needs {prerequisite.flag} {'on' if prerequisite.enabled else 'off'}"


def state_in_short(configuration: Mapping[str, Any]) -> str:
    """A flag in an environment in a word or two: ``OFF``, ``ON``, ``ON 10 %``, ``ON 3 rules``."""
    if not configuration["enabled"]:
        return "OFF"
    rules = rules_of(configuration)
    if not rules:
        return "ON"
    if len(rules) > 1 or rules[0].constraints or rules[0].segments:
        return f"ON {len(rules)} rule{'s' if len(rules) > 1 else ''}"
    share = rules[0].rollout.percentage
    return "ON" if share == 100 else f"ON {format_percentage(share)}"


def differences(before: Any, after: Any) -> list[str]:
    """What a change changed, a line each: ``-`` for what was, ``+`` for what is.

    Args:
        before: The document before the change, or ``None``.
        after: The same after it.
    """
    old, new = _lines(before), _lines(after)
    return [f"- {line}" for line in old if line not in new] + [f"+ {line}" for line in new if line not in old]


def _lines(document: Any, place: str = "") -> list[str]:
    """A document as lines that say all of it, each with its place."""
    if document is None or document in ("", [], ()):
        return []
    if isinstance(document, Mapping):
        return [
            line
            for name, value in document.items()
            if name not in _BOOKKEEPING
            for line in _lines(value, name if place in _TRANSPARENT else f"{place}.{name}")
        ]
    if isinstance(document, Sequence) and not isinstance(document, str):
        in_words = _LISTS.get(place)
        return _some(place, document) if in_words is None else in_words(document)
    if place == "enabled":
        return ["ON" if document else "OFF"]
    return [f"{place}: {document}"]


def _some(place: str, items: Sequence[Any]) -> list[str]:
    return [f"{place}: {', '.join(map(str, items[:20]))}" + (" …" if len(items) > 20 else "")]


def _rules(items: Sequence[Any]) -> list[str]:
    return [f"rule {rule.id}: {rule_sentence(rule)}" for rule in msgspec.convert(items, tuple[Rule, ...])]


def _prerequisites(items: Sequence[Any]) -> list[str]:
    return [prerequisite_sentence(one) for one in msgspec.convert(items, tuple[Prerequisite, ...])]


def _variants(items: Sequence[Any]) -> list[str]:
    return [f"variant {one['name']} = {msgspec.json.encode(one.get('value')).decode()}" for one in items]


def _constraints(items: Sequence[Any]) -> list[str]:
    return [f"if {format_condition(one)}" for one in msgspec.convert(items, tuple[Constraint, ...])]


_LISTS: Final[dict[str, Callable[[Sequence[Any]], list[str]]]] = {
    "rules": _rules,
    "prerequisites": _prerequisites,
    "variants": _variants,
    "constraints": _constraints,
}
_BOOKKEEPING: Final = frozenset({"created_at", "updated_at", "updated_by", "revision", "project", "key", "id"})
_TRANSPARENT: Final = frozenset({"", "configuration", "definition", "flag", "config"})
