"""Turns a flag into a plan, once, when it is first asked for.

``compile_flag`` says the same as docs/explanation/evaluation.md, in the same order. ``fader.functions`` writes a plan
as functions: ``enabled`` answers yes or no and counts, as fast as we know how; ``decide`` tells all and does not count.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from msgspec import Struct

from fader.bucketing import BUCKETS, thousandths
from fader.constraints import Condition, Surroundings, compile_constraint
from fader.context import Attributes
from fader.counters import Counter
from fader.evaluation import Reason
from fader.functions import Choose, Decide, Outcome, Plan, PlannedRule
from fader.model import OFF, ON, Flag, Rule, Variant
from fader.rollouts import compile_rollout, compile_split


class CompiledPrerequisite(Struct, frozen=True):
    """Another flag, compiled, and how it has to be. ``decide`` is ``None`` for a flag that is not there."""

    decide: Decide | None
    enabled: bool
    variants: frozenset[str]

    def holds(self, key: str, attributes: Attributes) -> bool:
        """Whether the other flag is, for this context, as it has to be."""
        return self.decide is not None and self.accepts(self.decide(key, attributes))

    def accepts(self, outcome: Outcome) -> bool:
        """Whether an outcome of the other flag is as it has to be."""
        if outcome.enabled is not self.enabled:
            return False
        return not self.variants or outcome.variant in self.variants


NEVER_HELD = CompiledPrerequisite(None, True, frozenset())
"""A flag that needs this one is off."""


class CompiledFlag(Struct, frozen=True):
    """A flag, ready to be written as functions."""

    flag: Flag
    prerequisites: tuple[CompiledPrerequisite, ...]
    plan: Plan


class Cast(Struct, frozen=True):
    """A flag's variants in their parts: which one is off, and which one is served where nothing else is said."""

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

    def can_serve(self, rule: Rule) -> bool:
        """Whether a rule serves what there is. The server refuses one that does not; here it lets nobody in."""
        if rule.split is None:
            return (rule.variant or self.first) in self.variants
        weighted = rule.split.variants
        return all(each.variant in self.variants for each in weighted) and any(each.weight > 0 for each in weighted)


MakeOutcome: TypeAlias = Callable[..., Outcome]


def compile_flag(
    flag: Flag,
    *,
    segments: Mapping[str, Condition],
    prerequisites: Sequence[CompiledPrerequisite],
    surroundings: Surroundings,
    counter: Callable[[str], Counter],
) -> CompiledFlag:
    """Compile a flag.

    Args:
        flag: As it came.
        segments: Whether a context belongs to a segment, by the segment's name.
        prerequisites: The flag's, in its order.
        surroundings: What well-known attributes fall back to.
        counter: Gives the counter of a variant by its name.
    """
    cast = Cast.of(flag)

    def outcome(variant: str, reason: Reason, **rule: Any) -> Outcome:
        return Outcome(variant != cast.off, variant, cast.variants[variant].value, reason, counter(variant), **rule)

    if not flag.enabled:
        plan = Plan((), None, (), outcome(cast.off, Reason.DISABLED))
    else:
        plan = Plan(
            prerequisites=tuple(prerequisite.holds for prerequisite in prerequisites),
            unmet=outcome(cast.off, Reason.PREREQUISITE_FAILED) if prerequisites else None,
            rules=tuple(
                _planned(
                    rule,
                    flag,
                    segments,
                    surroundings,
                    _serves(rule, flag, cast, surroundings, partial(outcome, rule=rule.id, position=position)),
                )
                for position, rule in enumerate(flag.rules)
                if cast.can_serve(rule)
            ),
            default=outcome(cast.off, Reason.DEFAULT) if flag.rules else outcome(cast.first, Reason.STATIC),
        )
    return CompiledFlag(flag, tuple(prerequisites), plan)


def _planned(
    rule: Rule,
    flag: Flag,
    segments: Mapping[str, Condition],
    surroundings: Surroundings,
    serves: Outcome | Choose,
) -> PlannedRule:
    """All that has to let a context in: constraints, segments, and the rollout last, for it alone has to hash."""
    rollout = compile_rollout(rule.rollout, flag.key, surroundings)
    conditions = (
        *(compile_constraint(constraint, surroundings) for constraint in rule.constraints),
        *(segments[name] for name in rule.segments),
        *(() if rollout is None else (rollout,)),
    )
    return PlannedRule(conditions, serves, rule, rollout)


def _serves(rule: Rule, flag: Flag, cast: Cast, surroundings: Surroundings, outcome: MakeOutcome) -> Outcome | Choose:
    if rule.split is not None:
        outcomes = {each.variant: outcome(each.variant, Reason.SPLIT) for each in rule.split.variants}
        return compile_split(rule.split, flag.key, surroundings, outcomes)
    everybody = thousandths(rule.rollout.percentage) >= BUCKETS
    return outcome(rule.variant or cast.first, Reason.TARGETING_MATCH if everybody else Reason.SPLIT)
