"""Checks of a flag's configuration in one environment: everything about it that can be known when it is
written."""

import math
from collections.abc import Collection, Mapping

from msgspec import Struct

from fader import model
from fader_server.flags.constraints import check_constraints
from fader_server.flags.definitions import variant_names
from fader_server.flags.findings import Findings, did_you_mean, shortened
from fader_server.flags.limits import Limits
from fader_server.flags.references import Graph, cycle, longest_chain
from fader_server.storage.records import Configuration, Definition

LARGEST_WEIGHT_SUM = 2**31


class Surroundings(Struct, frozen=True):
    """What a configuration may refer to, as it is in the project at the moment of writing."""

    segments: Collection[str]
    """Keys of the project's segments."""
    flags: Mapping[str, Definition]
    """The flags that are named as prerequisites, as far as they exist and are not archived."""
    other_flags: Collection[str]
    """Keys of flags, for suggestions."""
    prerequisites: Graph
    """Who has which prerequisites in this environment; what the flag itself has is not looked at."""


def check_configuration(
    definition: Definition,
    configuration: Configuration,
    surroundings: Surroundings,
    limits: Limits,
    findings: Findings,
) -> None:
    """Report everything that is wrong with this configuration of this flag."""
    if findings.check_count("rules", configuration.rules, limits.rules):
        for position, rule in enumerate(configuration.rules):
            check_rule(f"rules[{position}].", definition, rule, surroundings, limits, findings)
        _check_rule_ids(configuration, findings)
    if findings.check_count("prerequisites", configuration.prerequisites, limits.prerequisites):
        _check_prerequisites(definition, configuration, surroundings, limits, findings)


def check_rule(
    prefix: str,
    definition: Definition,
    rule: model.Rule,
    surroundings: Surroundings,
    limits: Limits,
    findings: Findings,
) -> None:
    """Report everything that is wrong with one rule; ``prefix`` goes before the names of its fields."""
    findings.check_text(f"{prefix}description", rule.description, limits.text, lines=True)
    check_constraints(f"{prefix}constraints", rule.constraints, limits, findings)
    if findings.check_count(f"{prefix}segments", rule.segments, limits.constraints):
        for position, segment in enumerate(rule.segments):
            if segment not in surroundings.segments:
                findings.add(
                    f"{prefix}segments[{position}]",
                    f"there is no segment {shortened(segment)}",
                    did_you_mean(segment, surroundings.segments),
                )
        findings.check_distinct(f"{prefix}segments", rule.segments)
    check_percentage(f"{prefix}rollout.percentage", rule.rollout.percentage, findings)
    check_hashing(f"{prefix}rollout.", rule.rollout.by, rule.rollout.salt, limits, findings)
    names = variant_names(definition)
    if rule.variant is not None:
        _check_variant(f"{prefix}variant", rule.variant, names, findings)
        if rule.split is not None:
            findings.add(f"{prefix}split", "a rule serves a variant or a split, not both", "Leave one of them out.")
    if rule.split is not None:
        _check_split(f"{prefix}split", rule.split, names, limits, findings)


def check_percentage(field: str, percentage: float, findings: Findings) -> None:
    """Report a percentage that is not one, or finer than what buckets tell apart."""
    if not math.isfinite(percentage) or not 0 <= percentage <= 100:
        findings.add(field, "is not between 0 and 100", "Percentages are in percent: 12.5 lets one in eight in.")
    # A decimal such as 0.007 is not exactly a multiple of 0.001 in binary; it is so up to rounding.
    elif abs(percentage * 1000 - round(percentage * 1000)) > 1e-6:
        findings.add(field, "is finer than 0.001", f"The nearest is {round(percentage, 3)}.")


def check_hashing(prefix: str, by: str, salt: str, limits: Limits, findings: Findings) -> None:
    """Report what is wrong with what a bucket is made of; ``prefix`` goes before the names of the fields."""
    findings.check_text(f"{prefix}by", by, limits.text, empty=False)
    findings.check_text(f"{prefix}salt", salt, limits.text)


def _check_variant(field: str, variant: str, names: Collection[str], findings: Findings) -> None:
    if variant not in names:
        findings.add(
            field,
            f"the flag has no variant {shortened(variant)}",
            did_you_mean(variant, names) or f"One of: {', '.join(list(names)[:20])}.",
        )


def _check_split(field: str, split: model.Split, names: Collection[str], limits: Limits, findings: Findings) -> None:
    check_hashing(f"{field}.", split.by, split.salt, limits, findings)
    if not split.variants:
        findings.add(f"{field}.variants", "is empty", "Name variants and their weights, or leave split out.")
        return
    if not findings.check_count(f"{field}.variants", split.variants, limits.variants):
        return
    for position, weighted in enumerate(split.variants):
        _check_variant(f"{field}.variants[{position}].variant", weighted.variant, names, findings)
        if weighted.weight < 0:
            findings.add(f"{field}.variants[{position}].weight", "is negative")
    findings.check_distinct(f"{field}.variants", (weighted.variant for weighted in split.variants))
    total = sum(max(weighted.weight, 0) for weighted in split.variants)
    if not 0 < total <= LARGEST_WEIGHT_SUM:
        findings.add(
            f"{field}.variants",
            f"the weights add up to {total}",
            f"Their sum must be between 1 and {LARGEST_WEIGHT_SUM}; only their proportions matter.",
        )


def _check_rule_ids(configuration: Configuration, findings: Findings) -> None:
    for position, rule in enumerate(configuration.rules):
        if rule.id:
            findings.check_key(f"rules[{position}].id", rule.id)
    ids = [rule.id for rule in configuration.rules]
    for position, rule_id in enumerate(ids):
        if rule_id and rule_id in ids[:position]:
            findings.add(
                f"rules[{position}].id",
                f"{shortened(rule_id)} is another rule's id already",
                "Leave it out to get a fresh one.",
            )


def _check_prerequisites(
    definition: Definition,
    configuration: Configuration,
    surroundings: Surroundings,
    limits: Limits,
    findings: Findings,
) -> None:
    for position, prerequisite in enumerate(configuration.prerequisites):
        field = f"prerequisites[{position}]"
        if prerequisite.flag == definition.key:
            findings.add(f"{field}.flag", "a flag cannot be its own prerequisite")
            continue
        parent = surroundings.flags.get(prerequisite.flag)
        if parent is None:
            findings.add(
                f"{field}.flag",
                f"there is no flag {shortened(prerequisite.flag)}",
                did_you_mean(prerequisite.flag, surroundings.other_flags),
            )
            continue
        if prerequisite.variants and not prerequisite.enabled:
            findings.add(
                f"{field}.variants",
                "means nothing for a prerequisite that must be off",
                "Leave variants out.",
            )
        if findings.check_count(f"{field}.variants", prerequisite.variants, limits.variants):
            for index, variant in enumerate(prerequisite.variants):
                _check_parents_variant(f"{field}.variants[{index}]", parent, variant, findings)
        way = cycle({**surroundings.prerequisites, definition.key: [prerequisite.flag]}, definition.key)
        if way is not None:
            findings.add(f"{field}.flag", f"makes a circle: {' → '.join(way)}", "None of them could ever be on.")
    named = [prerequisite.flag for prerequisite in configuration.prerequisites]
    findings.check_distinct("prerequisites", named)
    if named and not findings.errors:  # who needs none makes no chain longer
        chain = longest_chain(
            {**surroundings.prerequisites, definition.key: named}, definition.key, limits.prerequisite_depth
        )
        if chain > limits.prerequisite_depth:
            most = limits.prerequisite_depth
            findings.add("prerequisites", f"makes a chain of more than {most} flags, each waiting for the next")


def _check_parents_variant(field: str, parent: Definition, variant: str, findings: Findings) -> None:
    names = variant_names(parent)
    if variant not in names:
        findings.add(
            field,
            f"flag {parent.key} has no variant {shortened(variant)}",
            did_you_mean(variant, names) or f"One of: {', '.join(names[:20])}.",
        )
