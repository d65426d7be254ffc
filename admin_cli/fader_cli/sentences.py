"""Flags in words: what a rule does, how a flag is."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fader.model import BY_DEFAULT, Prerequisite, Rule
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
    by = "" if rule.rollout.by == BY_DEFAULT else f" by {rule.rollout.by}"
    salt = f" salted {rule.rollout.salt}" if rule.rollout.salt else ""
    if share != 100 or by or salt:
        who = f"{format_percentage(share)}{by}{salt}" + (f" of those with {who}" if who else " of everybody")
    who = who or "everybody"
    if rule.split is not None:
        shares = ", ".join(f"{weighted.variant}={weighted.weight}" for weighted in rule.split.variants)
        by = "" if rule.split.by == BY_DEFAULT else f" by {rule.split.by}"
        salt = f" salted {rule.split.salt}" if rule.split.salt else ""
        return f"{who} → {shares}{by}{salt}"
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
