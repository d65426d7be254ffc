"""Turns a flag into closures over its constants, once, when it is first asked for.

``compile_flag`` says the same as docs/explanation/evaluation.md, in the same order. What it makes has two
faces: ``enabled`` answers yes or no and counts, as fast as we know how; ``decide`` tells all, and does not
count.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from mmh3 import hash as murmur3
from msgspec import Struct

from fader.bucketing import BUCKETS, ROLLOUT_SEED, thousandths
from fader.constraints import Step, Surroundings, all_members_of, all_of, no
from fader.context import NO_ATTRIBUTES, Attributes, EvaluationContext, parts
from fader.counters import Counter
from fader.evaluation import Reason
from fader.model import BY_DEFAULT, OFF, ON, Flag, Rule, Segment, Variant
from fader.rollouts import letting_in, sharing_out


class Outcome(Struct, frozen=True):
    """One of the answers that a flag can give. All of them are made when the flag is compiled."""

    enabled: bool
    variant: str
    value: Any
    reason: Reason
    rule: str | None
    counter: Counter


Decide: TypeAlias = Callable[[str, Attributes], Outcome]
CounterOf: TypeAlias = Callable[[str], Counter]


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
    counter: CounterOf,
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
        return _constant(flag, outcome(cast.off, Reason.DISABLED))
    default = outcome(cast.off, Reason.DEFAULT) if flag.rules else outcome(cast.first, Reason.STATIC)
    rules = tuple(_compile_rule(rule, flag, cast, segments, surroundings, outcome) for rule in flag.rules)
    if prerequisites:
        unmet = outcome(cast.off, Reason.PREREQUISITE_FAILED)
        decide = _deciding_after(tuple(prerequisites), unmet, _deciding(rules, default))
        return CompiledFlag(flag, decide, _counting(decide))
    if not rules:
        return _constant(flag, default)
    decide = _deciding(rules, default)
    if _is_plain_rollout(flag):
        return CompiledFlag(flag, decide, _plain_rollout(flag, decide, outcome(cast.first, Reason.SPLIT), default))
    return CompiledFlag(flag, decide, _counting(decide))


def _compile_rule(
    rule: Rule,
    flag: Flag,
    cast: Cast,
    segments: Mapping[str, Segment],
    surroundings: Surroundings,
    outcome: Callable[..., Outcome],
) -> Step[Outcome]:
    """A rule as one step: its constraints, its segments, its rollout, and what it serves."""
    sharing: Step[Outcome] | None = None
    variant, partial = rule.variant or cast.first, thousandths(rule.rollout.percentage) < BUCKETS
    if rule.split is not None:
        outcomes = {name: outcome(name, Reason.SPLIT, rule.id) for name in cast.variants}
        sharing = sharing_out(rule.split, flag.key, surroundings, outcomes)
    elif variant not in cast.variants:
        return no  # it serves a variant which the flag does not have
    served = outcome(variant, Reason.SPLIT if partial else Reason.TARGETING_MATCH, rule.id)
    step = letting_in(rule.rollout, flag.key, surroundings, served, sharing)
    step = all_members_of(rule.segments, segments, surroundings, step)
    return all_of(rule.constraints, surroundings, step)


def _deciding(rules: Sequence[Step[Outcome]], default: Outcome) -> Decide:
    """The first rule that lets the context in decides; if none does, ``default``."""
    if len(rules) == 1:
        (only,) = rules
        return lambda key, attributes: only(key, attributes) or default

    def decide(key: str, attributes: Attributes) -> Outcome:
        for rule in rules:
            outcome = rule(key, attributes)
            if outcome is not None:
                return outcome
        return default

    return decide


def _deciding_after(prerequisites: Sequence[CompiledPrerequisite], unmet: Outcome, decide: Decide) -> Decide:
    def decide_after(key: str, attributes: Attributes) -> Outcome:
        for prerequisite in prerequisites:
            if not prerequisite.holds(key, attributes):
                return unmet
        return decide(key, attributes)

    return decide_after


def _constant(flag: Flag, outcome: Outcome) -> CompiledFlag:
    """A flag that gives everybody the same."""
    answer, counter = outcome.enabled, outcome.counter

    def enabled(_context: Any) -> bool:
        counter[0] += 1
        return answer

    return CompiledFlag(flag, lambda _key, _attributes: outcome, enabled)


def _counting(decide: Decide) -> Callable[[Any], bool]:
    """Whether a flag is on, by way of ``decide``, counted."""

    def enabled(context: Any) -> bool:
        if context.__class__ is str:
            outcome = decide(context, NO_ATTRIBUTES)
        elif context.__class__ is EvaluationContext and context.targeting_key.__class__ is str:
            outcome = decide(context.targeting_key, context.attributes)
        else:
            outcome = decide(*parts(context))
        outcome.counter[0] += 1
        return outcome.enabled

    return enabled


def _is_plain_rollout(flag: Flag) -> bool:
    """Whether all that a flag does is let in a share of all users: the commonest flag there is."""
    if len(flag.rules) != 1:
        return False
    (rule,) = flag.rules
    targeted = rule.constraints or rule.segments or rule.variant is not None or rule.split is not None
    return not targeted and rule.rollout.by == BY_DEFAULT and 0 < thousandths(rule.rollout.percentage) < BUCKETS


def _plain_rollout(flag: Flag, decide: Decide, served: Outcome, default: Outcome) -> Callable[[Any], bool]:
    """``_counting`` with ``rollouts.letting_in`` written into it, for a bare targeting key: two calls fewer.
    ``_counting`` with ``rollouts.letting_in`` written into it, for a bare targeting key: two calls fewer."""
    (rule,) = flag.rules
    prefix = f"{rule.rollout.salt or flag.key}:"
    percent, rest = divmod(thousandths(rule.rollout.percentage), 1000)
    answer, other_answer = served.enabled, default.enabled
    counter, other_counter = served.counter, default.counter
    otherwise = _counting(decide)

    def enabled(context: Any) -> bool:
        if context.__class__ is not str or not context:
            return otherwise(context)
        hashed = murmur3(prefix + context, ROLLOUT_SEED, False)
        place = hashed % 100
        if place < percent or (place == percent and hashed // 100 % 1000 < rest):
            counter[0] += 1
            return answer
        other_counter[0] += 1
        return other_answer

    return enabled
