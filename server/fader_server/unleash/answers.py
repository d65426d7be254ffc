"""What Unleash's ``getVariant`` answers, from what a flag of ours serves."""

from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from fader import model
from fader_server.unleash.model import Payload
from fader_server.unleash.portable_variants import payload_of
from fader_server.unleash.translation import TranslatedFlag
from fader_server.unleash.variants import NO_VARIANT
from fader_server.unleash.wire import WirePayload


class VariantAnswer(Struct, frozen=True, omit_defaults=True):
    """The answer in Unleash's form and spelling; ``payload`` is left out where there is none."""

    name: str
    enabled: bool
    feature_enabled: bool
    payload: Payload | WirePayload | UnsetType = UNSET


_OFF: Final = VariantAnswer(name=NO_VARIANT, enabled=False, feature_enabled=False)
_ON: Final = VariantAnswer(name=NO_VARIANT, enabled=False, feature_enabled=True)


def variant_answer(translated: TranslatedFlag | None, enabled: bool, variant: str | None) -> VariantAnswer:
    """Unleash's answer for what was evaluated.

    Args:
        translated: The flag, or None for one that is not known.
        enabled: Whether the flag is on for the context.
        variant: The variant of ours that it serves.
    """
    original = translated.originals.get(variant) if translated is not None and variant is not None else None
    if not enabled or original is None:
        return _ON if enabled else _OFF
    payload = UNSET if original.payload is None else original.payload
    return VariantAnswer(name=original.name, enabled=True, feature_enabled=True, payload=payload)


def answer_of(flag: model.Flag, *, enabled: bool, variant: str, value: Any) -> VariantAnswer:
    """Unleash's answer for a flag of which nothing is known but what it serves, whether or not it once was Unleash's.

    Args:
        flag: The flag.
        enabled: Whether it is on for the context.
        variant: The variant that it serves.
        value: That variant's own value; ``None`` if it has none.
    """
    # A flag of Unleash's that can be on without a variant has one here that is called so, and has no value.
    is_plain = flag.type == "boolean" or (variant == model.ON and value is None)
    if not enabled or is_plain:
        return _ON if enabled else _OFF
    return VariantAnswer(name=variant, enabled=True, feature_enabled=True, payload=payload_of(value))
