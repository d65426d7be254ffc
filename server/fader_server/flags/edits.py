"""What each command makes of a flag's configuration: from one frozen value to the next."""

import secrets
from collections.abc import Collection

import msgspec

from fader import model
from fader_server.errors import FieldError, Invalid, NotFound
from fader_server.flags.findings import nearest
from fader_server.storage.records import Configuration

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH = 8


_EVERYBODY = model.Rule().rollout


def tidied(configuration: Configuration) -> Configuration:
    """The one way of writing a configuration down, so that what means the same is the same text.

    A rule without an id gets one, and keeps it from then on, whatever moves around it. A rollout that lets
    everybody in is the default one, which documents leave out.
    """
    taken = {rule.id for rule in configuration.rules}
    rules = []
    for rule in configuration.rules:
        rule_id = rule.id or _new_rule_id(taken)
        taken.add(rule_id)
        rollout = _EVERYBODY if rule.rollout == _EVERYBODY else rule.rollout
        rules.append(msgspec.structs.replace(rule, id=rule_id, rollout=rollout))
    return msgspec.structs.replace(configuration, rules=tuple(rules))


def switched(configuration: Configuration, *, on: bool) -> Configuration:
    """The toggle alone; rules stay as they are, so that switching on again brings the same people back."""
    return msgspec.structs.replace(configuration, enabled=on)


def rolled_out(
    configuration: Configuration,
    percentage: float,
    *,
    by: str | None = None,
    salt: str | None = None,
    rule_id: str | None = None,
) -> Configuration:
    """Let this share in: by the rule named, else by the last one that is for everybody, else by a new last
    one.

    Args:
        percentage: 0 to 100.
        by: what is hashed; ``None`` leaves it.
        salt: ``None`` leaves it.

    Raises:
        NotFound: if there is no rule of this id.
    """
    if rule_id is not None:
        position = rule_position(configuration, rule_id)
    else:
        last = _last_for_everybody(configuration)
        position = len(configuration.rules) if last is None else last
        if last is None:
            appended = (*configuration.rules, model.Rule())
            configuration = msgspec.structs.replace(configuration, rules=appended)
    rule = configuration.rules[position]
    rollout = model.Rollout(
        percentage=percentage,
        by=rule.rollout.by if by is None else by,
        salt=rule.rollout.salt if salt is None else salt,
    )
    return _with_rules_from(configuration, position, msgspec.structs.replace(rule, rollout=rollout))


def rule_for_everybody(configuration: Configuration) -> str | None:
    """The id of the rule whose rollout is set where none is named."""
    last = _last_for_everybody(configuration)
    return None if last is None else configuration.rules[last].id


def _last_for_everybody(configuration: Configuration) -> int | None:
    positions = (
        position for position, rule in enumerate(configuration.rules) if not rule.constraints and not rule.segments
    )
    return max(positions, default=None)


def with_rule(configuration: Configuration, rule: model.Rule, position: int | None = None) -> Configuration:
    """Add a rule before the one at ``position``, counted from 0, or after all others.

    Raises:
        Invalid: if there is no such position.
    """
    count = len(configuration.rules)
    at = count if position is None else position
    if not 0 <= at <= count:
        raise Invalid.of([FieldError("position", f"there are {count} rules, so it is between 0 and {count}")])
    rules = (*configuration.rules[:at], rule, *configuration.rules[at:])
    return msgspec.structs.replace(configuration, rules=rules)


def with_rule_replaced(configuration: Configuration, rule_id: str, rule: model.Rule) -> Configuration:
    """Put another rule in a rule's place, under its id.

    Raises:
        NotFound: if there is no rule of this id.
        Invalid: if the new rule brings another id along.
    """
    if rule.id not in ("", rule_id):
        raise Invalid.of([FieldError("id", f"the rule's id is {rule_id}", "Leave id out.")])
    position = rule_position(configuration, rule_id)
    return _with_rules_from(configuration, position, msgspec.structs.replace(rule, id=rule_id))


def without_rule(configuration: Configuration, rule_id: str) -> Configuration:
    """Take a rule away. Taking the last one away leaves a flag that is on for everybody while it is enabled.

    Raises:
        NotFound: if there is no rule of this id.
    """
    return _with_rules_from(configuration, rule_position(configuration, rule_id))


def rule_position(configuration: Configuration, rule_id: str) -> int:
    """Where a rule stands, counted from 0.

    Raises:
        NotFound: if there is no rule of this id.
    """
    ids = [rule.id for rule in configuration.rules]
    if rule_id not in ids:
        raise NotFound(f"The flag has no rule {rule_id!r} here.", suggestions=nearest(rule_id, ids))
    return ids.index(rule_id)


def _with_rules_from(configuration: Configuration, position: int, *instead: model.Rule) -> Configuration:
    rules = (*configuration.rules[:position], *instead, *configuration.rules[position + 1 :])
    return msgspec.structs.replace(configuration, rules=rules)


def _new_rule_id(taken: Collection[str]) -> str:
    while (drawn := "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))) in taken:
        pass
    return drawn
