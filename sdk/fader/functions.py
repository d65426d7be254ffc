"""Writes a flag as Python functions: what evaluates it is code for this one flag, and nothing is interpreted.

A flag with two rules comes to this, where each name is bound to what the flag is made of::

    def enabled(context):
        if context.__class__ is str:
            key, attributes = context, nothing
        elif ...:
            ...
        if (a in set1 if (a := attributes.get(name1)).__class__ is str else asked1(a)) and condition2(key, attributes):
            counter3[0] += 1
            return True
        if (murmur3((prefix4 + key).encode(), 0) % 100 < 5 if key else condition4(key, attributes)):
            counter5[0] += 1
            return True
        counter6[0] += 1
        return False

Closures that call each other would do the same at twice the cost: CPython speeds code up for what it meets there (PEP
659), and a place that calls another function in each flag never settles. Names and numbers are all that is ever
written into the code; no text of a flag is, so no flag can say anything in it.
"""

from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final, TypeAlias, cast

from msgspec import Struct

from fader.bucketing import ROLLOUT_SEED, murmur3
from fader.constraints import AttributeCondition, Condition
from fader.context import NO_ATTRIBUTES, Attributes, EvaluationContext, parts
from fader.counters import Counter
from fader.evaluation import Reason
from fader.model import Rule
from fader.operators.operator import Test, WrittenTest
from fader.rollouts import HashCondition, default_identity


class Outcome(Struct, frozen=True):
    """One of the answers that a flag can give. All of them are made when the flag is compiled.

    ``position`` is the deciding rule's among the flag's rules, for ids need not be there, nor be different.
    """

    enabled: bool
    variant: str
    value: Any
    reason: Reason
    counter: Counter
    rule: str | None = None
    position: int | None = None


Decide: TypeAlias = Callable[[str, Attributes], Outcome]
Choose: TypeAlias = Callable[[str, Attributes], Outcome]
Enabled: TypeAlias = Callable[[Any], bool]


class PlannedRule(Struct, frozen=True):
    """If all conditions hold, in this order, the context gets the outcome, or the one that is chosen for it.

    ``rule`` is what it was made of, and ``rollout`` the last of the conditions, unless it lets everybody in.
    """

    conditions: tuple[Condition, ...]
    serves: Outcome | Choose
    rule: Rule = Rule()
    rollout: Condition | None = None


class Plan(Struct, frozen=True):
    """A flag: the prerequisites, and the outcome if one does not hold; the rules; the outcome if none lets in."""

    prerequisites: tuple[Condition, ...]
    unmet: Outcome | None
    rules: tuple[PlannedRule, ...]
    default: Outcome


_IF_KEY: Final = "if context.__class__ is str:\n        key, attributes = context, nothing\n"
_IF_CONTEXT: Final = (
    "if context.__class__ is EvaluationContext and (key := context.targeting_key).__class__ is str:\n"
    "        attributes = context.attributes\n"
)
_IF_OTHER: Final = "    else:\n        key, attributes = parts(context)\n"
_KNOWN: Final[dict[str, Any]] = {
    "EvaluationContext": EvaluationContext,
    "murmur3": murmur3,
    "nothing": NO_ATTRIBUTES,
    "parts": parts,
}


def write_enabled(plan: Plan) -> Enabled:
    """The function that says whether a flag is on, and counts. It takes whatever the caller gave as the context."""
    return cast("Enabled", _Writing(plan, counts=True).function("enabled", "context"))


def write_decide(plan: Plan) -> Decide:
    """The function that gives a flag's outcome, and does not count. It takes a context in parts."""
    return cast("Decide", _Writing(plan, counts=False).function("decide", "key, attributes"))


class _Writing:
    """One function in the making: its lines, and what the names in them are bound to."""

    def __init__(self, plan: Plan, *, counts: bool) -> None:
        self._plan = plan
        self._counts = counts
        self._bound: dict[str, Any] = dict(_KNOWN)
        self._hashes = self._shared_hashes()

    def function(self, name: str, parameters: str) -> FunctionType:
        plan = self._plan
        lines = [f"def {name}({parameters}):\n"]
        if self._counts and (plan.prerequisites or plan.rules):
            targeted = any(isinstance(each, AttributeCondition) for rule in plan.rules for each in rule.conditions)
            first, second = (_IF_CONTEXT, _IF_KEY) if targeted else (_IF_KEY, _IF_CONTEXT)  # the likelier one first
            lines.append(f"    {first}    el{second}{_IF_OTHER}")
        lines += [
            f"    if not {self._condition(condition)}:\n{self._serving(plan.unmet)}" for condition in plan.prerequisites
        ]
        lines += [f"    {name} = None\n" for name in self._hashes.values()]
        for rule in plan.rules:
            conditions = " and ".join(self._condition(condition) for condition in rule.conditions) or "True"
            lines.append(f"    if {conditions}:\n{self._serving(rule.serves)}")
        lines.append(f"    if True:\n{self._serving(plan.default)}")
        # The code is a copy of its own, for the interpreter to speed up for this flag alone.
        return FunctionType(_code("".join(lines)).replace(), self._bound, name)

    def _shared_hashes(self) -> dict[str, str]:
        """The salts that several rules hash the targeting key with, and a name for each hash: it is made once."""
        prefixes = [
            condition.prefix
            for rule in self._plan.rules
            for condition in rule.conditions
            if isinstance(condition, HashCondition) and condition.identify is default_identity
        ]
        repeated = sorted({prefix for prefix in prefixes if prefixes.count(prefix) > 1})
        return {prefix: f"hash{number}" for number, prefix in enumerate(repeated)}

    def _bind(self, kind: str, value: Any) -> str:
        name = f"{kind}{len(self._bound)}"
        self._bound[name] = value
        return name

    def _serving(self, serves: Outcome | Choose | None) -> str:
        if isinstance(serves, Outcome):
            if not self._counts:
                return f"        return {self._bind('outcome', serves)}\n"
            return f"        {self._bind('counter', serves.counter)}[0] += 1\n        return {serves.enabled}\n"
        chosen = f"{self._bind('choose', serves)}(key, attributes)"
        if not self._counts:
            return f"        return {chosen}\n"
        return f"        chosen = {chosen}\n        chosen.counter[0] += 1\n        return chosen.enabled\n"

    def _condition(self, condition: Condition) -> str:
        if isinstance(condition, AttributeCondition):
            asked = self._bind("asked", condition.asked)
            value = f"(a := attributes.get({self._bind('name', condition.attribute)}))"
            passes = f"({self._test(condition.asked.test)} if {value}.__class__ is str else {asked}(a))"
            return f"(not {passes})" if condition.inverted else passes
        if isinstance(condition, HashCondition) and condition.identify is default_identity:
            return f"({self._hash(condition)} if key else {self._bind('condition', condition)}(key, attributes))"
        return f"{self._bind('condition', condition)}(key, attributes)"

    def _test(self, test: Test) -> str:
        if isinstance(test, WrittenTest):
            return test.template.format(text="a", constant=self._bind("constant", test.constant))
        return f"{self._bind('test', test)}(a)"

    def _hash(self, condition: HashCondition) -> str:
        hashed = f"murmur3(({self._bind('prefix', condition.prefix)} + key).encode(), {ROLLOUT_SEED})"
        name = self._hashes.get(condition.prefix)
        if name is not None:
            hashed = f"({name} if {name} is not None else ({name} := {hashed}))"
        percent, rest = condition.percent, condition.rest
        if rest == 0:
            return f"({hashed} % 100 < {percent})"
        return f"((p := (h := {hashed}) % 100) < {percent} or p == {percent} and h // 100 % 1000 < {rest})"


@lru_cache(maxsize=512)
def _code(source: str) -> CodeType:
    """Flags of one shape have the same source."""
    module = compile(source, "<flag>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, CodeType))
