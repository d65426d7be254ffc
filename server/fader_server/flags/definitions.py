"""Checks of the part of a flag that all environments share: names, texts, variants."""

import math
from typing import Any

import msgspec

from fader import model
from fader_server.flags.findings import Findings, did_you_mean, shortened
from fader_server.flags.limits import Limits
from fader_server.storage.records import Definition

DISABLED = "disabled"
"""Other protocols answer a switched-off flag with a variant of this name, so no real one may be called so."""

_LARGEST_EXACT = 2**53
"""RFC 8259, section 6: integers up to this size mean the same to everybody."""

_BOOLEAN_VARIANTS = (model.ON, model.OFF)


def variant_names(definition: Definition) -> tuple[str, ...]:
    """The names of a flag's variants, those of a boolean flag included."""
    return tuple(variant.name for variant in definition.variants) or _BOOLEAN_VARIANTS


def check_definition(definition: Definition, limits: Limits, findings: Findings) -> None:
    """Report everything that is wrong with a flag's definition."""
    findings.check_key("key", definition.key)
    findings.check_text("description", definition.description, limits.text, lines=True)
    findings.check_text("owner", definition.owner, limits.text)
    if findings.check_count("tags", definition.tags, limits.tags):
        for position, tag in enumerate(definition.tags):
            findings.check_text(f"tags[{position}]", tag, limits.text, empty=False)
        findings.check_distinct("tags", definition.tags)
    if definition.type == "boolean":
        _check_boolean(definition, findings)
    else:
        _check_variants(definition, limits, findings)


def _check_boolean(definition: Definition, findings: Findings) -> None:
    if definition.variants:
        findings.add(
            "variants",
            "a boolean flag has the variants on and off by itself",
            "Leave variants out, or give the flag another type.",
        )
    if definition.off_variant != model.OFF:
        findings.add("off_variant", "a boolean flag's off variant is off", "Leave off_variant out.")


def _check_variants(definition: Definition, limits: Limits, findings: Findings) -> None:
    if not definition.variants:
        findings.add(
            "variants",
            f"a flag of type {definition.type} needs variants",
            'Name them: [{"name": "a", "value": …}, …].',
        )
        return
    if not findings.check_count("variants", definition.variants, limits.variants):
        return
    for position, variant in enumerate(definition.variants):
        field = f"variants[{position}]"
        if findings.check_key(f"{field}.name", variant.name) and variant.name == DISABLED:
            findings.add(
                f"{field}.name",
                "disabled is the name that other protocols give to a flag that is off",
                "Choose another name.",
            )
        _check_value(f"{field}.value", definition.type, variant.value, limits, findings)
    names = [variant.name for variant in definition.variants]
    findings.check_distinct("variants", names)
    if not definition.off_variant:
        findings.add(
            "off_variant",
            "the variant that is served while the flag is off must be named",
            f"One of: {', '.join(names[:20])}.",
        )
    elif definition.off_variant not in names:
        findings.add(
            "off_variant",
            f"the flag has no variant {shortened(definition.off_variant)}",
            did_you_mean(definition.off_variant, names) or f"One of: {', '.join(names[:20])}.",
        )


def _check_value(field: str, of: model.ValueType, value: Any, limits: Limits, findings: Findings) -> None:
    if value is None:  # stands for the caller's own default
        return
    if of == "string" and not isinstance(value, str):
        findings.add(field, f"is not text, and the flag's type is {of}", "Put it in quotation marks.")
    elif of == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        findings.add(field, f"is not a number, and the flag's type is {of}")
    elif of == "number" and abs(value) > _LARGEST_EXACT and isinstance(value, int):
        findings.add(field, f"is beyond {_LARGEST_EXACT}, up to which all clients can tell integers apart")
    elif isinstance(value, float) and not math.isfinite(value):
        findings.add(field, "is not a finite number")
    elif _depth(value, limits.variant_depth) > limits.variant_depth:
        findings.add(field, f"is nested more than {limits.variant_depth} levels deep")
    elif len(msgspec.json.encode(value)) > limits.variant_bytes:
        findings.add(field, f"is larger than {limits.variant_bytes} bytes of JSON")


def _depth(value: Any, enough: int) -> int:
    """How deep a JSON value is nested; not looked at any deeper than is enough to refuse it."""
    level, depth = [value], 0
    while depth <= enough:
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return depth
        depth += 1
    return depth
