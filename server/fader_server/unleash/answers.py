"""What Unleash's ``getVariant`` answers, from what a translated flag serves."""

from msgspec import Struct

from fader_server.unleash.model import Payload
from fader_server.unleash.translation import TranslatedFlag
from fader_server.unleash.variants import NO_VARIANT


class VariantAnswer(Struct, frozen=True, omit_defaults=True):
    """The answer in Unleash's form and spelling; ``payload`` is left out where there is none."""

    name: str
    enabled: bool
    feature_enabled: bool
    payload: Payload | None = None


def variant_answer(translated: TranslatedFlag | None, enabled: bool, variant: str | None) -> VariantAnswer:
    """Unleash's answer for what was evaluated.

    Args:
        translated: The flag, or None for one that is not known.
        enabled: Whether the flag is on for the context.
        variant: The variant of ours that it serves.
    """
    original = translated.originals.get(variant) if translated is not None and variant is not None else None
    if not enabled or original is None:
        return VariantAnswer(name=NO_VARIANT, enabled=False, feature_enabled=enabled)
    return VariantAnswer(name=original.name, enabled=True, feature_enabled=True, payload=original.payload)
