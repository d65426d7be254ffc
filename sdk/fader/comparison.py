"""Whom a guard compares: users who have a feature because a rule's rollout lets them in, and users whom it keeps out.

Nobody else says anything about the feature. Who is let in by another rule, or is not addressed by this one, may differ
from all others in more than the feature, and would be compared with them for the wrong reasons.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from fader.context import Attributes
from fader.evaluation import Reason
from fader.functions import Outcome, Plan, PlannedRule, write_decide
from fader.rollouts import Identify, default_identity, identity_by
from fader.snapshot import FlagSet

Side: TypeAlias = Callable[[str, Attributes], bool | None]
"""Whether a context has the feature; ``None`` for one that is not compared."""

_WITHOUT_CHOICE = frozenset({Reason.DISABLED, Reason.PREREQUISITE_FAILED})


class Comparison(NamedTuple):
    """How to find the side of a context, and what tells one user from another: what the rollout hashes."""

    side: Side
    identify: Identify


def comparison(flags: FlagSet, flag: str, rule: str) -> Comparison | None:
    """How a guard compares.

    Args:
        flags: What is evaluated with.
        flag: The key of the flag that is brought up.
        rule: The id of the rule whose rollout is raised; empty for the flag as a whole.

    Returns:
        The comparison, or ``None`` where there is nothing to compare: no such flag, or no such rule in it.
    """
    if flag not in flags.snapshot.flags:
        return None
    plan = flags.compiled(flag).plan
    position = next((at for at, planned in enumerate(plan.rules) if planned.rule.id == rule), None)
    if position is None:
        return None if rule else Comparison(_of_the_whole(plan), default_identity)
    identify = identity_by(plan.rules[position].rule.rollout.by, flags.surroundings)
    return Comparison(_of_rule(plan, position), identify)


def _of_the_whole(plan: Plan) -> Side:
    decide = write_decide(plan)

    def side(key: str, attributes: Attributes) -> bool | None:
        outcome = decide(key, attributes)
        return None if outcome.reason in _WITHOUT_CHOICE else outcome.enabled

    return side


def _of_rule(plan: Plan, position: int) -> Side:
    planned = plan.rules[position]
    let_in = planned.rollout or _everybody
    conditions = planned.conditions if planned.rollout is None else planned.conditions[:-1]
    if not plan.prerequisites and not position and not conditions:
        return let_in
    # What lies before the rollout, as a flag of its own.
    elsewhere, addressed = _answer(False), _answer(True)
    decide = write_decide(
        Plan(
            prerequisites=plan.prerequisites,
            unmet=elsewhere,
            rules=(
                *(PlannedRule(earlier.conditions, elsewhere) for earlier in plan.rules[:position]),
                PlannedRule(conditions, addressed),
            ),
            default=elsewhere,
        )
    )

    def side(key: str, attributes: Attributes) -> bool | None:
        return let_in(key, attributes) if decide(key, attributes) is addressed else None

    return side


def _answer(enabled: bool) -> Outcome:
    return Outcome(enabled, "", None, Reason.STATIC, [0])


def _everybody(_key: str, _attributes: Attributes) -> bool:
    return True
