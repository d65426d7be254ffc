"""How a flag from elsewhere comes to fit the one that there is: pure decisions.

A flag's type and its variants are the same in all environments here. Elsewhere each environment may have others, and
documents are of one environment. So the variants of all documents come together, as long as they do not contradict one
another; and what other environments serve is never changed.
"""

from msgspec import Struct
from msgspec.structs import replace

from fader import model
from fader_server.errors import FieldError
from fader_server.flags.findings import shortened
from fader_server.storage.documents import encode
from fader_server.storage.records import Configuration, Definition


class Fitted(Struct, frozen=True, kw_only=True):
    """What all environments are to share of a flag, and what one of them is to have for itself; or why not."""

    type: model.ValueType
    variants: tuple[model.Variant, ...]
    off_variant: str
    configuration: Configuration
    errors: tuple[FieldError, ...] = ()


def fitted(flag: model.Flag, held: Definition | None, *, is_used_elsewhere: bool) -> Fitted:
    """Fit a flag to what there is of it.

    Args:
        flag: As it is to be in one environment. If it has variants, its rules say which they serve.
        held: What there is, if there is anything.
        is_used_elsewhere: Whether it is configured in any other environment.
    """
    plain = Fitted(
        type=flag.type,
        variants=flag.variants,
        off_variant=flag.off_variant,
        configuration=Configuration(enabled=flag.enabled, rules=flag.rules, prerequisites=flag.prerequisites),
    )
    if held is None or (flag.type == "boolean" and held.type == "boolean"):
        return plain
    if flag.type == "boolean":
        return _with_variants_of(plain, held)
    if not is_used_elsewhere and (held.type, held.off_variant) != (flag.type, flag.off_variant):
        return plain
    if held.type == "boolean" or (held.type != flag.type and not _says_nothing(flag)):
        return replace(
            plain,
            errors=(
                FieldError(
                    "type",
                    f"is {flag.type}, and the flag is {held.type} in other environments",
                    "Archive and delete the flag, and import the environment in which it has variants first.",
                ),
            ),
        )
    return _together(plain, held, is_used_elsewhere=is_used_elsewhere)


def _with_variants_of(plain: Fitted, held: Definition) -> Fitted:
    """A flag without variants, which has some in other environments: being on is a variant without a value."""
    known = {variant.name: variant for variant in held.variants}
    name, copies = model.ON, 1
    while name in known and (encode(known[name].value) != "null" or name == held.off_variant):
        copies += 1
        name = f"{model.ON}-{copies}"
    on = model.Variant(name=name)
    rules = tuple(
        replace(rule, variant=held.off_variant if rule.variant == model.OFF else name)
        for rule in plain.configuration.rules
    )
    return Fitted(
        type=held.type,
        variants=held.variants if name in known else (*held.variants, on),
        off_variant=held.off_variant,
        configuration=replace(plain.configuration, rules=rules or (model.Rule(id="everybody", variant=name),)),
    )


def _together(plain: Fitted, held: Definition, *, is_used_elsewhere: bool) -> Fitted:
    """The variants of both. Those of the flag that are there already have to have the same values."""
    variants = {variant.name: variant for variant in held.variants}
    names: dict[str, str] = {}
    errors: list[FieldError] = []
    given = {variant.name: variant for variant in plain.variants}
    off = given[plain.off_variant]
    if off.value is None or _same_value(off, variants[held.off_variant]):
        # An off variant without a value says nothing of what is given while the flag is off: that stays.
        names[plain.off_variant] = held.off_variant
    elif is_used_elsewhere:
        errors.append(
            FieldError("off_variant", f"serves another value than {held.off_variant!r} in other environments")
        )
    for position, variant in enumerate(plain.variants):
        if variant.name in names:
            continue
        there = variants.get(variant.name)
        if there is None or _same_value(variant, there):
            variants[variant.name] = variant
        elif variant.name == held.off_variant or is_used_elsewhere:
            text = shortened(encode(there.value))
            errors.append(
                FieldError(
                    f"variants[{position}].value",
                    f"variant {variant.name!r} has the value {text} in other environments",
                )
            )
        else:
            variants[variant.name] = variant
    return Fitted(
        type=held.type,
        variants=tuple(variants.values()),
        off_variant=held.off_variant,
        configuration=replace(
            plain.configuration, rules=tuple(_renamed(rule, names) for rule in plain.configuration.rules)
        ),
        errors=tuple(errors),
    )


def _renamed(rule: model.Rule, names: dict[str, str]) -> model.Rule:
    split = rule.split
    if split is not None:
        shares = tuple(replace(one, variant=names.get(one.variant, one.variant)) for one in split.variants)
        split = replace(split, variants=shares)
    variant = rule.variant if rule.variant is None else names.get(rule.variant, rule.variant)
    return replace(rule, variant=variant, split=split)


def _says_nothing(flag: model.Flag) -> bool:
    """Whether no variant has a value, so that the flag's type makes no difference."""
    return all(variant.value is None for variant in flag.variants)


def _same_value(one: model.Variant, other: model.Variant) -> bool:
    return encode(one.value) == encode(other.value)  # as text: 1 and 1.0 are equal values, and different documents
