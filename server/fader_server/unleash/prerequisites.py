"""Our prerequisites as Unleash's dependencies.

Unleash's SDKs follow one level only: a flag whose parent has dependencies itself is off. Chains go out nevertheless
where what is further up is the same for everybody and need not be asked.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Struct

from fader import model
from fader.bucketing import BUCKETS, thousandths
from fader_server.unleash.notes import Note, Notebook
from fader_server.unleash.portable_variants import Cast
from fader_server.unleash.variants import NO_VARIANT
from fader_server.unleash.wire import WireDependency, WireFeature

_DEEPEST: Final = 50
"""Flags in a chain that are followed to see whether it is the same for everybody; the server takes no longer ones."""


class Ancestry(Struct, frozen=True):
    """What a flag's prerequisites may ask for: all flags, and what was made of the parents."""

    flags: Mapping[str, model.Flag]
    features: Mapping[str, WireFeature]
    notes: Mapping[str, tuple[Note, ...]]


def dependencies_of(
    flag: model.Flag, ancestry: Ancestry, notebook: Notebook, *, is_parent: bool
) -> tuple[WireDependency, ...] | None:
    """What a flag depends on; ``None`` where it is to be off for everybody.

    Args:
        flag: Ours.
        ancestry: With the features of its parents.
        notebook: Takes what Unleash's SDKs will not see as it is.
        is_parent: Whether it is another flag's prerequisite, and so had better not depend on anything.
    """
    if needs_itself(flag.key, ancestry.flags):
        return None
    found: list[WireDependency] = []
    for position, prerequisite in enumerate(flag.prerequisites):
        held = holds_for_everybody(prerequisite, ancestry.flags)
        parent = ancestry.features.get(prerequisite.flag)
        if parent is None:
            return None
        if held is not None and (is_parent or parent.dependencies):
            if not held:
                return None
            continue
        dependency = _dependency(prerequisite, parent, ancestry, notebook.at("prerequisites").at(position))
        if dependency is None:
            return None
        found.append(dependency)
    return tuple(found)


def _dependency(
    prerequisite: model.Prerequisite, parent: WireFeature, ancestry: Ancestry, notebook: Notebook
) -> WireDependency | None:
    flag = ancestry.flags[prerequisite.flag]
    if parent.dependencies:
        notebook.write(
            f"Unleash SDKs follow prerequisites one level only, and {flag.key} has one itself: they keep the flag off."
        )
        return None
    variants: tuple[str, ...] = ()
    if prerequisite.variants:
        cast = Cast.of(flag)
        if not prerequisite.enabled:
            if cast.off not in prerequisite.variants:
                return None  # whoever is off is given no other
        else:
            serving = tuple(name for name in cast.variants if name != cast.off)
            variants = tuple(name for name in serving if name in prerequisite.variants)
            if not variants:
                return None
            variants = () if variants == serving else variants
    if any(not note.is_remark for note in ancestry.notes.get(flag.key, ())):
        if variants or not prerequisite.enabled:
            notebook.write(
                f"Unleash SDKs do not see {flag.key} as it is, and cannot be asked for this: they keep the flag off."
            )
            return None
        notebook.write(f"Unleash SDKs do not let in by {flag.key} all whom they should: they let fewer in here, too.")
    if variants and not parent.variants and any(not strategy.variants for strategy in parent.strategies):
        if model.ON not in variants:
            notebook.write(
                f"Unleash SDKs do not agree about variants of {flag.key}, which can be on without any: they keep the"
                " flag off."
            )
            return None
        variants = tuple(NO_VARIANT if name == model.ON else name for name in variants)
    return WireDependency(feature=flag.key, enabled=prerequisite.enabled, variants=variants or UNSET)


def holds_for_everybody(prerequisite: model.Prerequisite, flags: Mapping[str, model.Flag]) -> bool | None:
    """Whether a prerequisite holds, if the answer is the same for everybody."""
    return _holds(prerequisite, flags, _DEEPEST)


def needs_itself(key: str, flags: Mapping[str, model.Flag]) -> bool:
    """Whether a flag has itself among its prerequisites, at any distance."""
    seen: set[str] = set()
    to_visit = [key]
    while to_visit:
        flag = flags.get(to_visit.pop())
        for prerequisite in flag.prerequisites if flag is not None else ():
            if prerequisite.flag == key:
                return True
            if prerequisite.flag not in seen:
                seen.add(prerequisite.flag)
                to_visit.append(prerequisite.flag)
    return False


def _holds(prerequisite: model.Prerequisite, flags: Mapping[str, model.Flag], depth: int) -> bool | None:
    flag = flags.get(prerequisite.flag)
    if flag is None:
        return False
    served = _served_to_everybody(flag, flags, depth - 1)
    if served is None:
        return None
    is_on = served != flag.off_variant
    return is_on is prerequisite.enabled and (not prerequisite.variants or served in prerequisite.variants)


def _served_to_everybody(flag: model.Flag, flags: Mapping[str, model.Flag], depth: int) -> str | None:
    if not flag.enabled or needs_itself(flag.key, flags):
        return flag.off_variant
    if depth <= 0:
        return None
    held = [_holds(prerequisite, flags, depth) for prerequisite in flag.prerequisites]
    if False in held:
        return flag.off_variant
    return None if None in held else _served_by_rules(flag)


def _served_by_rules(flag: model.Flag) -> str | None:
    cast = Cast.of(flag)
    if not flag.rules:
        return cast.first
    for rule in flag.rules:
        serving, share = cast.serving(rule), thousandths(rule.rollout.percentage)
        if serving is None or share <= 0:
            continue
        is_for_everybody = share >= BUCKETS and rule.rollout.by in (model.BY_DEFAULT, model.BY_RANDOM)
        if rule.constraints or rule.segments or not is_for_everybody or len(serving.shares) > 1:
            return None
        return serving.shares[0][0]
    return flag.off_variant
