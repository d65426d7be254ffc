"""Why a flag gives what it gives: every rule, every constraint, the bucket.

The answer itself is the evaluator's. What is told about it comes from the same steps, asked one by one.
"""

from typing import Any

from msgspec import Struct

from fader.bucketing import bucket, split_place
from fader.compiler import NEVER_HELD, Cast, CompiledPrerequisite, compile_flag
from fader.constraints import Surroundings, compile_constraint, identity, value_of
from fader.context import Attributes, canonical_text, parts
from fader.evaluation import Reason
from fader.functions import Outcome, write_decide
from fader.model import (
    BY_DEFAULT,
    BY_RANDOM,
    Constraint,
    Flag,
    Prerequisite,
    Rollout,
    Rule,
    Scalar,
    Segment,
    Split,
)
from fader.rollouts import compile_rollout, default_identity
from fader.snapshot import FlagSet


class PrerequisiteExplained(Struct, frozen=True):
    """Another flag: how it had to be, and how it is (``None`` if it is not there)."""

    flag: str
    wanted: str
    actual: str | None
    held: bool


class ConstraintExplained(Struct, frozen=True):
    """A constraint, with what the context had for its attribute as text (``None`` if it was missing)."""

    attribute: str
    operator: str
    values: tuple[Scalar, ...]
    inverted: bool
    case_insensitive: bool
    actual: str | None
    held: bool


class SegmentExplained(Struct, frozen=True):
    """A segment, whether the context belongs to it, and why."""

    segment: str
    held: bool
    why: str


class RolloutExplained(Struct, frozen=True):
    """A rollout: what was hashed, the bucket (0 to 99,999) it fell into, and whether that is let in.

    ``bucket`` is ``None`` where a draw decides, and then ``admitted`` is what this evaluation drew.
    """

    percentage: float
    by: str
    salt: str
    id: str | None
    bucket: int | None
    admitted: bool


class SplitExplained(Struct, frozen=True):
    """A split: what was hashed, its place (1 to ``of``, the sum of weights), and the variant at that place."""

    by: str
    salt: str
    id: str | None
    place: int | None
    of: int
    variant: str | None


class RuleExplained(Struct, frozen=True):
    """A rule. Those after the deciding one are not evaluated and tell nothing more."""

    id: str
    description: str
    evaluated: bool
    matched: bool
    why: str
    constraints: tuple[ConstraintExplained, ...] = ()
    segments: tuple[SegmentExplained, ...] = ()
    rollout: RolloutExplained | None = None
    split: SplitExplained | None = None


class Explanation(Struct, frozen=True):
    """An answer and everything that led to it."""

    flag: str
    enabled: bool
    variant: str
    value: Any
    reason: Reason
    rule: str | None
    revision: int
    prerequisites: tuple[PrerequisiteExplained, ...]
    rules: tuple[RuleExplained, ...]


def explain(flags: FlagSet, key: str, context: object) -> Explanation:
    """Evaluate a flag for a context, without counting, and tell why.

    Args:
        flags: All flags of the environment.
        key: The flag's key.
        context: A context, a targeting key, or ``None``.

    Raises:
        KeyError: if there is no such flag.
        TypeError: if the context is none.
    """
    compiled = flags.compiled(key)
    targeting_key, attributes = parts(context)
    prerequisites = tuple(
        _prerequisite(flags, wanted, prerequisite, targeting_key, attributes)
        for wanted, prerequisite in zip(compiled.flag.prerequisites, compiled.prerequisites, strict=True)
    )
    # Each prerequisite has been asked, once, for another flag may draw. The rest is the evaluator's with these answers.
    unmet = any(not each.held for each in prerequisites)
    asked = compile_flag(
        compiled.flag,
        segments=flags.segments,
        prerequisites=[NEVER_HELD] if unmet else [],
        surroundings=flags.surroundings,
        counter=lambda _variant: [0],
    )
    outcome = write_decide(asked.plan)(targeting_key, attributes)
    return Explanation(
        flag=key,
        enabled=outcome.enabled,
        variant=outcome.variant,
        value=outcome.value,
        reason=outcome.reason,
        rule=outcome.rule,
        revision=flags.snapshot.revision,
        prerequisites=prerequisites,
        rules=_Asked(flags, compiled.flag, targeting_key, attributes, outcome).rules(),
    )


def _prerequisite(
    flags: FlagSet, wanted: Prerequisite, prerequisite: CompiledPrerequisite, key: str, attributes: Attributes
) -> PrerequisiteExplained:
    how = " or ".join(wanted.variants) or ("on" if wanted.enabled else "off")
    if wanted.flag not in flags.snapshot.flags:
        return PrerequisiteExplained(wanted.flag, how, None, False)
    if prerequisite.decide is None:
        return PrerequisiteExplained(wanted.flag, how, "it needs this flag in turn", False)
    outcome = prerequisite.decide(key, attributes)
    actual = outcome.variant if wanted.variants else ("on" if outcome.enabled else "off")
    return PrerequisiteExplained(wanted.flag, how, actual, prerequisite.accepts(outcome))


class _Asked:
    """One flag, one context, and the evaluator's answer."""

    def __init__(self, flags: FlagSet, flag: Flag, key: str, attributes: Attributes, outcome: Outcome) -> None:
        self._flags = flags
        self._flag = flag
        self._cast = Cast.of(flag)
        self._key = key
        self._attributes = attributes
        self._outcome = outcome

    @property
    def _surroundings(self) -> Surroundings:
        return self._flags.surroundings

    def rules(self) -> tuple[RuleExplained, ...]:
        rules, deciding = self._flag.rules, self._outcome.position
        if self._outcome.reason in {Reason.DISABLED, Reason.PREREQUISITE_FAILED}:
            reached = 0
        else:
            reached = len(rules) if deciding is None else deciding + 1
        return (
            *(self._rule(rule, position == deciding) for position, rule in enumerate(rules[:reached])),
            *(_not_evaluated(rule) for rule in rules[reached:]),
        )

    def _rule(self, rule: Rule, is_deciding: bool) -> RuleExplained:
        constraints = tuple(self._constraint(constraint) for constraint in rule.constraints)
        segments = tuple(self._segment(name) for name in rule.segments)
        targeted = all(each.held for each in constraints) and all(each.held for each in segments)
        return RuleExplained(
            id=rule.id,
            description=rule.description,
            evaluated=True,
            matched=is_deciding,
            why=self._why(rule, constraints, segments, is_deciding),
            constraints=constraints,
            segments=segments,
            rollout=self._rollout(rule.rollout, is_deciding) if targeted else None,
            split=self._split(rule.split) if targeted and is_deciding and rule.split is not None else None,
        )

    def _why(
        self,
        rule: Rule,
        constraints: tuple[ConstraintExplained, ...],
        segments: tuple[SegmentExplained, ...],
        is_deciding: bool,
    ) -> str:
        if is_deciding:
            return "everything holds"
        for constraint in constraints:
            if not constraint.held:
                missing = " (it is missing)" if constraint.actual is None else ""
                return f"the constraint on {constraint.attribute} does not hold{missing}"
        for segment in segments:
            if not segment.held:
                return f"not in the segment {segment.segment}: {segment.why}"
        if not self._cast.can_serve(rule):
            return "it serves no variant that the flag has"
        if rule.rollout.by not in {BY_DEFAULT, BY_RANDOM} and self._identity(rule.rollout.by) is None:
            return f"the context has no {rule.rollout.by} to hash"
        return f"not among the {rule.rollout.percentage:g} % that are let in"

    def _constraint(self, constraint: Constraint) -> ConstraintExplained:
        value = value_of(constraint.attribute, self._surroundings, self._key, self._attributes)
        holds = compile_constraint(constraint, self._surroundings)
        return ConstraintExplained(
            attribute=constraint.attribute,
            operator=constraint.operator,
            values=constraint.values,
            inverted=constraint.inverted,
            case_insensitive=constraint.case_insensitive,
            actual=_as_text(value),
            held=holds(self._key, self._attributes),
        )

    def _segment(self, name: str) -> SegmentExplained:
        segment = self._flags.snapshot.segments.get(name)
        if segment is None:
            return SegmentExplained(name, False, "there is no such segment")
        held = self._flags.segments[name](self._key, self._attributes)
        return SegmentExplained(name, held, self._why_member(segment, held))

    def _why_member(self, segment: Segment, held: bool) -> str:
        if self._key in segment.targeting_keys or self._is_in_long_list(segment):
            return "the targeting key is listed"
        if held:
            return "all its constraints hold"
        for constraint in segment.constraints:
            if not compile_constraint(constraint, self._surroundings)(self._key, self._attributes):
                return f"its constraint on {constraint.attribute} does not hold"
        return "the targeting key is not listed"

    def _is_in_long_list(self, segment: Segment) -> bool:
        members = None if segment.members is None else self._flags.members.get(segment.members.list)
        return members is not None and members.contains(self._key)

    def _rollout(self, rollout: Rollout, is_deciding: bool) -> RolloutExplained:
        salt = rollout.salt or self._flag.key
        hashed = self._identity(rollout.by)
        place = None if hashed is None else bucket(salt, hashed)
        admits = compile_rollout(rollout, self._flag.key, self._surroundings)
        if admits is None:
            admitted = True
        elif place is None:
            admitted = is_deciding  # drawn, or nobody: what counts is what the evaluation itself met
        else:
            admitted = admits(self._key, self._attributes)
        return RolloutExplained(rollout.percentage, rollout.by, salt, hashed, place, admitted)

    def _split(self, split: Split) -> SplitExplained:
        salt = split.salt or self._flag.key
        total = sum(max(weighted.weight, 0) for weighted in split.variants)
        hashed = self._identity(split.by)
        place = None if hashed is None else split_place(salt, hashed, total)
        return SplitExplained(split.by, salt, hashed, place, total, self._outcome.variant)

    def _identity(self, by: str) -> str | None:
        if by == BY_RANDOM:
            return None
        if by == BY_DEFAULT:
            return default_identity(self._key, self._attributes)
        return identity(by, self._surroundings)(self._key, self._attributes)


def _not_evaluated(rule: Rule) -> RuleExplained:
    return RuleExplained(rule.id, rule.description, False, False, "not evaluated")


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_as_text(element) or "missing" for element in value) + "]"
    return canonical_text(value) or type(value).__name__
