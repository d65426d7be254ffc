"""A second evaluator, slow and plain, against which the real one is held.

It is written from the definition of what a flag means, and shares nothing with the SDK but the model: its own
MurmurHash3, its own versions, times and numbers, no compilation, no short cuts. Where evaluation draws at
random it returns every outcome that a draw may have, so that one call answers for all of them.
"""

import ipaddress
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import re2

from fader.model import Constraint, Flag, Prerequisite, Rule, Segment, Split

VARIANT_SEED = 86028157


@dataclass(frozen=True)
class Outcome:
    """One possible answer. ``rule`` is the id of the rule that decided."""

    variant: str | None
    enabled: bool
    reason: str
    rule: str | None = None


class Oracle:
    """Answers for one set of flags and segments.

    Contexts are plain dictionaries in which the targeting key is one attribute among others,
    ``targeting_key``.
    """

    def __init__(
        self,
        flags: Mapping[str, Flag],
        segments: Mapping[str, Segment],
        *,
        members: Mapping[str, AbstractSet[str]] | None = None,
        environment: str = "",
        app: str = "",
        now: datetime | None = None,
    ) -> None:
        self.flags = flags
        self.segments = segments
        self.members = members or {}  # by the names of lists, as the keys that they were made of
        self.fallbacks = {"environment": environment, "app": app, "current_time": now or datetime.now(UTC)}

    def outcomes(self, key: str, context: Mapping[str, Any]) -> set[Outcome]:
        """Everything that evaluating this flag for this context may answer."""
        return self._flag(key, self.attributes(context))

    def attributes(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """What constraints see: the context without what is missing, and with what well-known names fall back to."""
        attributes = {name: value for name, value in context.items() if value is not None}
        if attributes.get("targeting_key") == "":
            del attributes["targeting_key"]
        for name, value in self.fallbacks.items():
            if name not in attributes and value != "":
                attributes[name] = value
        return attributes

    # Step by step, as the definition numbers them.

    def _flag(self, key: str, attributes: Mapping[str, Any]) -> set[Outcome]:
        if key not in self.flags:
            return {Outcome(None, False, "ERROR")}
        flag = self.flags[key]
        if not flag.enabled:
            return {Outcome(flag.off_variant, False, "DISABLED")}
        answers = set()
        for held in self._prerequisites(flag, attributes):
            if not held:
                answers.add(Outcome(flag.off_variant, False, "PREREQUISITE_FAILED"))
            elif not flag.rules:
                variant = first_variant(flag)
                answers.add(Outcome(variant, variant != flag.off_variant, "STATIC"))
            else:
                answers |= self._rules(flag, attributes)
        return answers

    def _prerequisites(self, flag: Flag, attributes: Mapping[str, Any]) -> set[bool]:
        if flag.key in self._needed_by(flag.key):
            return {False}
        each = [self._prerequisite(prerequisite, attributes) for prerequisite in flag.prerequisites]
        return {all(combination) for combination in product(*each)}

    def _needed_by(self, key: str) -> set[str]:
        """The keys of all flags that this one needs, at any distance; its own among them if it needs itself."""
        needed: set[str] = set()
        while True:
            flags = [self.flags[name] for name in {key} | needed if name in self.flags]
            more = {prerequisite.flag for flag in flags for prerequisite in flag.prerequisites}
            if more <= needed:
                return needed
            needed |= more

    def _prerequisite(self, prerequisite: Prerequisite, attributes: Mapping[str, Any]) -> set[bool]:
        if prerequisite.flag not in self.flags:
            return {False}
        held = set()
        for parent in self._flag(prerequisite.flag, attributes):
            if parent.enabled != prerequisite.enabled:
                held.add(False)
            elif prerequisite.variants:
                held.add(parent.variant in prerequisite.variants)
            else:
                held.add(True)
        return held

    def _rules(self, flag: Flag, attributes: Mapping[str, Any]) -> set[Outcome]:
        answers = set()
        for rule in flag.rules:
            if not self._targets(rule, attributes):
                continue
            served = self._served(flag, rule, attributes)
            if not served:
                continue
            let_in = rollout(flag, rule, attributes)
            if True in let_in:
                decided = rule.rollout.percentage < 100 or rule.split is not None
                for variant in served:
                    reason = "SPLIT" if decided else "TARGETING_MATCH"
                    answers.add(Outcome(variant, variant != flag.off_variant, reason, rule.id))
            if False not in let_in:
                return answers
        return answers | {Outcome(flag.off_variant, False, "DEFAULT")}

    def _targets(self, rule: Rule, attributes: Mapping[str, Any]) -> bool:
        for constraint in rule.constraints:
            if not holds(constraint, attributes):
                return False
        return all(self.is_member(key, attributes) for key in rule.segments)

    def is_member(self, key: str, attributes: Mapping[str, Any]) -> bool:
        """Whether the context belongs to a segment."""
        if key not in self.segments:
            return False
        segment = self.segments[key]
        if attributes.get("targeting_key") in segment.targeting_keys:
            return True
        if segment.members is not None and attributes.get("targeting_key") in self.members.get(
            segment.members.list, ()
        ):
            return True
        if not segment.constraints:
            return False
        return all(holds(constraint, attributes) for constraint in segment.constraints)

    def _served(self, flag: Flag, rule: Rule, attributes: Mapping[str, Any]) -> set[str]:
        """Which variants the rule may serve; none where it cannot serve, and so does not match."""
        if rule.split is not None:
            return split_variants(flag, rule.split, attributes) & variant_names(flag)
        if rule.variant is not None:
            return {rule.variant} & variant_names(flag)
        return {first_variant(flag)}


def variant_names(flag: Flag) -> set[str]:
    """The names of the flag's variants."""
    return {variant.name for variant in flag.variants} if flag.variants else {"on", "off"}


def first_variant(flag: Flag) -> str:
    """What is served where nothing else is said."""
    return flag.variants[0].name if flag.variants else "on"


# Rollouts and splits


def hashed_id(by: str, attributes: Mapping[str, Any]) -> str | None:
    """The text that is hashed, or None where there is none. By default, an empty session is none."""
    if by == "default":
        return canonical_text(attributes.get("targeting_key")) or canonical_text(attributes.get("session_id")) or None
    return canonical_text(attributes.get(by))


def rollout(flag: Flag, rule: Rule, attributes: Mapping[str, Any]) -> set[bool]:
    """Whether the rule's rollout lets the context in: both, where that is drawn."""
    wanted = rule.rollout
    identifier = None if wanted.by == "random" else hashed_id(wanted.by, attributes)
    if identifier is None and wanted.by not in ("default", "random"):
        return {False}
    if wanted.percentage <= 0:
        return {False}
    if wanted.percentage >= 100:
        return {True}
    if identifier is None:
        return {True, False}
    hashed = murmur3(f"{wanted.salt or flag.key}:{identifier}".encode(), 0)
    bucket = (hashed % 100) * 1000 + (hashed // 100) % 1000
    return {bucket < round(wanted.percentage * 1000)}


def split_variants(flag: Flag, split: Split, attributes: Mapping[str, Any]) -> set[str]:
    """Which variants of a split the context may be given."""
    total = sum(weighted.weight for weighted in split.variants)
    if total <= 0:
        return set()
    identifier = None if split.by == "random" else hashed_id(split.by, attributes)
    if identifier is None:
        return {weighted.variant for weighted in split.variants if weighted.weight > 0}
    point = murmur3(f"{split.salt or flag.key}:{identifier}".encode(), VARIANT_SEED) % total + 1
    running = 0
    for weighted in split.variants:
        running += weighted.weight
        if running >= point:
            return {weighted.variant}
    return set()


def murmur3(data: bytes, seed: int) -> int:
    """MurmurHash3 x86 32-bit, from Austin Appleby's reference text, unsigned."""
    mask = 0xFFFFFFFF

    def rotate(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (32 - bits))) & mask

    def scramble(block: int) -> int:
        return rotate(block * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask

    state = seed
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        state ^= scramble(int.from_bytes(data[start : start + 4], "little"))
        state = (rotate(state, 13) * 5 + 0xE6546B64) & mask
    if whole < len(data):
        state ^= scramble(int.from_bytes(data[whole:], "little"))
    state ^= len(data)
    state = (state ^ (state >> 16)) * 0x85EBCA6B & mask
    state = (state ^ (state >> 13)) * 0xC2B2AE35 & mask
    return state ^ (state >> 16)


# Constraints

# fmt: off
KNOWN_OPERATORS = (
    "in", "not_in", "starts_with", "ends_with", "contains", "matches", "=", "<", "<=", ">", ">=", "before",
    "after", "semver_eq", "semver_gt", "semver_lt", "semver_ge", "semver_le", "in_cidr", "exists",
)
# fmt: on


def holds(constraint: Constraint, attributes: Mapping[str, Any]) -> bool:
    """Whether the constraint lets the context through."""
    if constraint.operator not in KNOWN_OPERATORS:
        return False
    return _holds_as_written(constraint, attributes.get(constraint.attribute)) != constraint.inverted


def _holds_as_written(constraint: Constraint, value: Any) -> bool:
    if constraint.operator == "exists":
        return value is not None
    elements = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if constraint.operator == "not_in":
        return not any(_element_holds("in", constraint, element) for element in elements)
    return any(_element_holds(constraint.operator, constraint, element) for element in elements)


def _element_holds(operator: str, constraint: Constraint, element: Any) -> bool:
    return any(value_holds(operator, element, value, constraint.case_insensitive) for value in constraint.values)


def value_holds(operator: str, element: Any, value: Any, case_insensitive: bool) -> bool:
    """One attribute's value against one of the constraint's."""
    if element is None:
        return False
    if operator == "in":
        text = canonical_text(element)
        return text is not None and text == canonical_text(value)
    if operator in ("starts_with", "ends_with", "contains"):
        return text_holds(operator, element, value, case_insensitive)
    if operator == "matches":
        return pattern_holds(element, value, case_insensitive)
    if operator in ("=", "<", "<=", ">", ">="):
        return ordered(operator, as_number(element), as_number(value))
    if operator in ("before", "after"):
        return ordered({"before": "<", "after": ">"}[operator], as_time(element), as_time(value))
    if operator == "in_cidr":
        return network_holds(element, value)
    comparison = {"eq": "=", "gt": ">", "lt": "<", "ge": ">=", "le": "<="}[operator.removeprefix("semver_")]
    return ordered(comparison, as_version(element), as_version(value))


def ordered(comparison: str, left: Any, right: Any) -> bool:
    """Compare two values, either of which may be unreadable (None)."""
    if left is None or right is None:
        return False
    if comparison == "=":
        return bool(left == right)
    if comparison == "<":
        return bool(left < right)
    if comparison == ">":
        return bool(left > right)
    if comparison == "<=":
        return bool(left <= right)
    return bool(left >= right)


def canonical_text(value: Any) -> str | None:
    """The one text of a scalar; None for what has none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return str(int(value)) if value == int(value) else format(Decimal(repr(value)), "f")
    if isinstance(value, datetime):
        return value.isoformat()
    return None


def text_holds(operator: str, element: Any, value: Any, case_insensitive: bool) -> bool:
    """The operators on parts of a text."""
    text, part = canonical_text(element), canonical_text(value)
    if text is None or part is None:
        return False
    if case_insensitive:
        text, part = text.lower(), part.lower()
    if operator == "starts_with":
        return text[: len(part)] == part
    if operator == "ends_with":
        return part == "" or text[-len(part) :] == part
    return part in text


def pattern_holds(element: Any, pattern: Any, case_insensitive: bool) -> bool:
    """A search, anywhere in the text, for a pattern of RE2's; a bad pattern is found nowhere."""
    text, pattern = canonical_text(element), canonical_text(pattern)
    if text is None or pattern is None:
        return False
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not case_insensitive
    try:
        return re2.compile(pattern, options).search(text) is not None
    except re2.error:
        return False


def as_number(value: Any) -> int | float | None:
    """A finite number, or a text that is a plain decimal one. Integers are exact, however large."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value)):
        return int(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, str) and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value):
        return float(value)
    return None


def as_time(value: Any) -> datetime | None:
    """A moment, or a text that is one in the form of RFC 3339."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    form = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
    if not isinstance(value, str) or not re.fullmatch(form, value):
        return None
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:
        return None


def as_version(value: Any) -> tuple[Any, ...] | None:
    """A semantic version as something that Python orders as SemVer 2.0 does."""
    if not isinstance(value, str):
        return None
    text, plus, build = value.partition("+")
    if plus and not all(re.fullmatch(r"[0-9A-Za-z-]+", part) for part in build.split(".")):
        return None
    core, dash, pre_release = text.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(re.fullmatch(r"0|[1-9][0-9]*", number) for number in numbers):
        return None
    if not dash:
        return (*map(int, numbers), 1, [])
    parts: list[tuple[int, int, str]] = []
    for part in pre_release.split("."):
        if re.fullmatch(r"0|[1-9][0-9]*", part):
            parts.append((0, int(part), ""))
        elif re.fullmatch(r"[0-9A-Za-z-]+", part) and not part.isdigit():
            parts.append((1, 0, part))
        else:
            return None
    return (*map(int, numbers), 0, parts)


def network_holds(element: Any, network: Any) -> bool:
    """Whether an address lies in a network of its own family."""
    if not isinstance(element, str) or not isinstance(network, str):
        return False
    try:
        return ipaddress.ip_address(element) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
