"""Unleash's variants as ours: one list a flag, each name once, values of one type, and what is needed to turn
an answer of ours back into one of Unleash's."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from fader import model
from fader.context import canonical_text
from fader.operators.numbers import number
from fader_server.unleash.constraints import as_text
from fader_server.unleash.contexts import rollout_by
from fader_server.unleash.model import Feature, Payload, Variant
from fader_server.unleash.notes import Notebook

NO_VARIANT: Final = "disabled"
"""What Unleash calls the variant of a feature that is off, or that is on without giving any variant."""

_VALUE_TYPES: Final[dict[str, model.ValueType]] = {
    "string": "string",
    "csv": "string",
    "number": "number",
    "json": "object",
}


class Original(Struct, frozen=True):
    """The variant of Unleash's that one of our variants stands for."""

    name: str
    payload: Payload | None = None


class Serving(Struct, frozen=True):
    """What a rule serves: one variant, or several by weight; with neither, the *on* of a boolean flag."""

    variant: str | None = None
    split: model.Split | None = None


class VariantSet(Struct, frozen=True):
    """All variants of one flag, under names of ours.

    Two strategies of Unleash's may each have a variant ``A`` with another payload; a flag of ours has each
    name once, so the second becomes ``A-2``. ``on`` stands for being on without a variant, where that can
    happen, and ``off`` for being off; neither is ever the name of a variant of Unleash's.
    """

    type: model.ValueType
    variants: tuple[model.Variant, ...]
    originals: dict[str, Original]
    on: str | None
    off: str

    def name_of(self, variant: Variant) -> str:
        """Our name for a variant of Unleash's."""
        original = Original(variant.name, variant.payload)
        return next(name for name, known in self.originals.items() if known == original)

    def names_for(self, unleash_name: str) -> tuple[str, ...]:
        """All names of ours that Unleash would answer with under this name, for a flag that is on."""
        names = [name for name, original in self.originals.items() if original.name == unleash_name]
        return tuple(names + ([self.on] if unleash_name == NO_VARIANT and self.on is not None else []))


def variant_set(feature: Feature, notebook: Notebook) -> VariantSet:
    """The variants of a feature and of all its strategies.

    A feature without any becomes a boolean flag. Otherwise the type is the one that all payloads share, and
    ``object``, which may be any JSON, where they share none.
    """
    found: dict[str, tuple[Original, Any]] = {}
    types: set[model.ValueType] = set()
    for variant, place in _all_variants(feature, notebook):
        original = Original(variant.name, variant.payload)
        if any(known == original for known, _ in found.values()):
            continue
        value, value_type = _value(variant.payload, place.at("payload"))
        types |= {value_type} if value_type is not None else set()
        name = _free_name(variant.name, found)
        if name != variant.name:
            place.at("name").write(f"Another variant is called {variant.name!r} too, so this one is {name!r}.")
        found[name] = (original, value)
    if not found:
        return VariantSet("boolean", (), {}, model.ON, model.OFF)
    off = _free_name(model.OFF, found)
    on = _free_name(model.ON, found) if _may_give_nothing(feature) else None
    return VariantSet(
        type=_common_type(types),
        variants=(
            *(model.Variant(name=name, value=value) for name, (_, value) in found.items()),
            *(model.Variant(name=name) for name in (on, off) if name is not None),
        ),
        originals={name: original for name, (original, _) in found.items()},
        on=on,
        off=off,
    )


def serving(variants: Sequence[Variant], stickiness: str, salt: str, named: VariantSet, notebook: Notebook) -> Serving:
    """How variants are shared out among those whom a strategy lets in.

    Args:
        variants: The strategy's own or the feature's. Without any weight in them nothing can be given: the
            flag is on without a variant.
        stickiness: Unleash's word for what is hashed.
        salt: What the hash is salted with; empty for the flag's key.
        named: Our names of the flag's variants.
        notebook: Takes notes under the path of the list of variants.
    """
    weighted = tuple(
        model.WeightedVariant(variant=named.name_of(variant), weight=weight)
        for position, variant in enumerate(variants)
        if (weight := _weight(variant.weight, notebook.at(position).at("weight"))) > 0
    )
    if variants and not weighted:
        notebook.write("Without any weight, some of Unleash's engines do not know the flag at all.", "disputed")
    if not weighted:
        return Serving(variant=named.on if named.variants else None)
    if len(weighted) == 1:
        return Serving(variant=weighted[0].variant)
    return Serving(split=model.Split(variants=weighted, by=rollout_by(stickiness), salt=salt))


def _all_variants(feature: Feature, notebook: Notebook) -> Iterable[tuple[Variant, Notebook]]:
    for position, variant in enumerate(feature.variants or ()):
        yield variant, notebook.at("variants").at(position)
    for place, strategy in enumerate(feature.strategies or ()):
        for position, variant in enumerate(strategy.variants or ()):
            yield variant, notebook.at("strategies").at(place).at("variants").at(position)


def _may_give_nothing(feature: Feature) -> bool:
    """Whether the feature can be on without a variant: where a strategy has none with any weight to fall
    to."""
    shared = feature.variants or ()
    lists = [strategy.variants or shared for strategy in feature.strategies or ()] or [shared]
    return any(all(_whole_weight(variant.weight) == 0 for variant in variants) for variants in lists)


def _free_name(wanted: str, taken: Iterable[str]) -> str:
    names, name, copies = set(taken), wanted, 1
    while name in names:
        copies += 1
        name = f"{wanted}-{copies}"
    return name


def _common_type(types: set[model.ValueType]) -> model.ValueType:
    if not types:
        return "string"  # nothing carries a value, and evaluation answers with the caller's own
    return next(iter(types)) if len(types) == 1 else "object"


def _value(payload: Payload | None, notebook: Notebook) -> tuple[Any, model.ValueType | None]:
    if payload is None:
        return None, None
    text = as_text(payload.value)
    value_type = _VALUE_TYPES.get(payload.type)
    match value_type:
        case "number" if (read := number(text)) is not None:
            if canonical_text(read) != text:
                notebook.remark(f"The number {text!r} is written as {canonical_text(read)} from now on.")
            return read, value_type
        case "object":
            try:
                return msgspec.json.decode(text), value_type
            except msgspec.DecodeError:
                pass
        case "string":
            if payload.type != "string":
                notebook.remark(f"The payload is of the type {payload.type!r}, and becomes 'string'.")
            return text, value_type
    notebook.remark(f"The payload cannot be read as {payload.type!r} and is carried as text.")
    return text, "string"


def _whole_weight(weight: float | None) -> int:
    return math.floor(weight) if weight is not None and math.isfinite(weight) and weight > 0 else 0


def _weight(weight: float | None, notebook: Notebook) -> int:
    whole = _whole_weight(weight)
    if whole != (weight or 0):
        notebook.write(f"The weight {weight} is taken as {whole}.", "disputed")
    return whole
