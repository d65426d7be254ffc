"""Our variants as Unleash's: what a rule serves to those whom it lets in."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from fader import model
from fader.context import canonical_text
from fader_server.unleash.wire import WirePayload, WireVariant

WHOLE: Final = 1000
"""The weight of a variant that is the only one, as Unleash writes it."""


class Cast(Struct, frozen=True):
    """A flag's variants in their parts, as the evaluator casts them."""

    variants: Mapping[str, model.Variant]
    off: str
    first: str
    is_boolean: bool

    @classmethod
    def of(cls, flag: model.Flag) -> "Cast":
        """The variants that a flag has, or is taken to have."""
        listed = flag.variants
        is_boolean = flag.type == "boolean"
        if not listed and is_boolean:
            listed = (model.Variant(name=model.ON, value=True), model.Variant(name=model.OFF, value=False))
        variants = {variant.name: variant for variant in listed}
        variants.setdefault(flag.off_variant, model.Variant(name=flag.off_variant))
        return cls(variants, flag.off_variant, next(iter(variants)), is_boolean)

    def serving(self, rule: model.Rule) -> "Serving | None":
        """What a rule serves; ``None`` where it serves what is not there, and so lets nobody in."""
        if rule.split is None:
            name = rule.variant or self.first
            return Serving(((name, WHOLE),)) if name in self.variants else None
        if any(each.variant not in self.variants for each in rule.split.variants):
            return None
        shares = tuple((each.variant, each.weight) for each in rule.split.variants if each.weight > 0)
        if len({name for name, _ in shares}) == 1:
            return Serving(((shares[0][0], WHOLE),))
        return Serving(shares, rule.split) if shares else None

    def may_be_off(self, serving: "Serving") -> bool:
        """Whether what is served may be the off variant."""
        return any(name == self.off for name, _ in serving.shares)

    def is_valueless(self, serving: "Serving") -> bool:
        """Whether the flag is to be on without any variant: always for a boolean one; for others where they serve
        a variant that is called ``on`` and has no value, which is what such a rule of Unleash's becomes here."""
        return self.is_boolean or (serving.shares == ((model.ON, WHOLE),) and self.variants[model.ON].value is None)


class Serving(Struct, frozen=True):
    """Variants with their shares. ``split`` says what they are shared out by, where there is more than one."""

    shares: tuple[tuple[str, int], ...]
    split: model.Split | None = None

    def wire(self, cast: Cast, stickiness: str) -> tuple[WireVariant, ...]:
        """The variants as Unleash's SDKs are sent them, shared out by ``stickiness``."""
        return tuple(
            WireVariant(name=name, weight=weight, stickiness=stickiness, payload=payload_of(cast.variants[name].value))
            for name, weight in self.shares
        )


def payload_of(value: Any) -> WirePayload | msgspec.UnsetType:
    """What a variant carries in Unleash's form; nothing where it has no value."""
    if value is None:
        return UNSET
    if isinstance(value, str):
        return WirePayload(type="string", value=value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return WirePayload(type="number", value=canonical_text(value) or "")
    return WirePayload(type="json", value=msgspec.json.encode(value).decode())
