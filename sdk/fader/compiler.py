"""Turns a flag into two functions, once, when it is first asked for.

``compile_flag`` says the same as docs/explanation/evaluation.md, in the same order. What it makes has two faces:
``enabled`` answers yes or no and counts, as fast as we know how; ``decide`` tells all, and does not count. Both are
written from the same plan (``fader.functions``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from fader.bucketing import BUCKETS, thousandths
from fader.constraints import Surroundings, compile_targeting
from fader.context import Attributes
from fader.counters import Counter
from fader.evaluation import Reason
from fader.functions import Choose, Decide, Outcome, Plan, PlannedRule, write_functions
from fader.model import OFF, ON, Flag, Rule, Segment, Variant
from fader.rollouts import compile_rollout, compile_split


class CompiledPrerequisite(Struct, frozen=True):
    """Another flag, compiled, and how it has to be. ``decide`` is ``None`` for a flag that is not there."""

    decide: Decide | None
    enabled: bool
    variants: frozenset[str]

    def holds(self, key: str, attributes: Attributes) -> bool:
        """Whether the other flag is, for this context, as it has to be."""
        if self.decide is None:
            return False
        outcome = self.decide(key, attributes)
        if outcome.enabled is not self.enabled:
            return False
        return not self.variants or outcome.variant in self.variants


class CompiledFlag(Struct, frozen=True):
    """A flag, ready to answer.

    ``enabled`` takes whatever the caller gave as the context; ``decide`` takes it in parts.
    """

    flag: Flag
    decide: Decide
    enabled: Callable[[Any], bool]


class Cast(Struct, frozen=True):
    """A flag's variants in their parts: which one is off, and which one is served where nothing else is said.
    A flag's variants in their parts: which one is off, and which one is served where nothing else is said."""

    variants: Mapping[str, Variant]
    off: str
    first: str

    @classmethod
    def of(cls, flag: Flag) -> "Cast":
        """The variants that a flag has, or is taken to have."""
        listed = flag.variants
        if not listed and flag.type == "boolean":
            listed = (Variant(name=ON, value=True), Variant(name=OFF, value=False))
        variants = {variant.name: variant for variant in listed}
        variants.setdefault(flag.off_variant, Variant(name=flag.off_variant))
        return cls(variants, flag.off_variant, next(iter(variants)))


def compile_flag(
    flag: Flag,
    *,
    segments: Mapping[str, Segment],
    prerequisites: Sequence[CompiledPrerequisite],
    surroundings: Surroundings,
    counter: Callable[[str], Counter],
) -> CompiledFlag:
    """Compile a flag.

    Args:
        flag: As it came.
        segments: All segments of the environment.
        prerequisites: The flag's, in its order.
        surroundings: What well-known attributes fall back to.
        counter: Gives the counter of a variant by its name.
    """
    cast = Cast.of(flag)

    def outcome(variant: str, reason: Reason, rule: str | None = None) -> Outcome:
        value = cast.variants[variant].value
        return Outcome(variant != cast.off, variant, value, reason, rule, counter(variant))

    if not flag.enabled:
        plan = Plan((), None, (), outcome(cast.off, Reason.DISABLED))
    else:
        rules = [_plan_rule(rule, flag, cast, segments, surroundings, outcome) for rule in flag.rules]
        plan = Plan(
            prerequisites=tuple(prerequisite.holds for prerequisite in prerequisites),
            unmet=outcome(cast.off, Reason.PREREQUISITE_FAILED) if prerequisites else None,
            rules=tuple(rule for rule in rules if rule is not None),
            default=outcome(cast.off, Reason.DEFAULT) if flag.rules else outcome(cast.first, Reason.STATIC),
        )
    decide, enabled = write_functions(plan)
    return CompiledFlag(flag, decide, enabled)


def _plan_rule(
    rule: Rule,
    flag: Flag,
    cast: Cast,
    segments: Mapping[str, Segment],
    surroundings: Surroundings,
    outcome: Callable[..., Outcome],
) -> PlannedRule | None:
    """A rule: its constraints, its segments, its rollout, and what it serves. ``None`` if it cannot serve anything."""
    serves: Outcome | Choose | None
    if rule.split is not None:
        outcomes = {name: outcome(name, Reason.SPLIT, rule.id) for name in cast.variants}
        serves = compile_split(rule.split, flag.key, surroundings, outcomes)
    else:
        variant = rule.variant or cast.first
        reason = Reason.SPLIT if thousandths(rule.rollout.percentage) < BUCKETS else Reason.TARGETING_MATCH
        serves = outcome(variant, reason, rule.id) if variant in cast.variants else None
    if serves is None:
        return None
    conditions = compile_targeting(rule.constraints, rule.segments, segments, surroundings)
    rollout = compile_rollout(rule.rollout, flag.key, surroundings)
    return PlannedRule(tuple(conditions) if rollout is None else (*conditions, rollout), serves)
