"""An environment in the format that Unleash's admin pages export and import.

What SDKs of Unleash's are sent, in lists of their own by feature, with what people see of a flag besides. Of segments
there is just the name: Unleash's import wants such to be there, and takes no constraints. These are a document of their
own, in the form of what ``GET /api/admin/segments`` answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from fader import model
from fader_server.exports.exported import Exported, refused_of
from fader_server.imports.wanted import Acceptable
from fader_server.storage.records import Definition, FlagKind
from fader_server.unleash.contexts import FIELDS
from fader_server.unleash.notes import Note
from fader_server.unleash.outward import outward
from fader_server.unleash.portable_variants import WHOLE
from fader_server.unleash.wire import WireFeature, WireSegment, WireVariant

_TYPES: Final[Mapping[FlagKind, str]] = {
    "release": "release",
    "ops": "operational",
    "experiment": "experiment",
    "permission": "permission",
}
_PLAIN_TAG: Final = "simple"


def exported(
    snapshot: model.Snapshot, definitions: Mapping[str, Definition], accepted: frozenset[Acceptable]
) -> Exported:
    """The document of an environment.

    Args:
        snapshot: The environment.
        definitions: What people see of its flags, by key.
        accepted: What may be in it although it is not exact.
    """
    state = outward(snapshot)
    notes = {
        key: (*state.notes.get(key, ()), *_redrawn(state.features[key]), *_lost(flag))
        for key, flag in snapshot.flags.items()
    }
    needed = {key: [one.flag for one in flag.prerequisites] for key, flag in snapshot.flags.items()}
    refused = refused_of(notes, needed, accepted)
    kept = [feature for key, feature in state.features.items() if key not in refused]
    named = {number for feature in kept for one in feature.strategies for number in one.segments or ()}
    segments = [segment for segment in state.segments.values() if segment.id in named]
    about = {feature.name: definitions[feature.name] for feature in kept}
    tags = [(key, *_tag(tag)) for key, definition in about.items() for tag in definition.tags]
    document = {
        "features": [_feature(feature, about[feature.name]) for feature in kept],
        "featureStrategies": [
            strategy for feature in kept for strategy in _strategies(feature, snapshot.flags[feature.name])
        ],
        "featureEnvironments": [
            {
                "name": feature.name,
                "featureName": feature.name,
                "environment": snapshot.environment,
                "enabled": feature.enabled,
                "variants": _in_thousandths(feature.variants),
            }
            for feature in kept
        ],
        "contextFields": _context_fields(kept, segments),
        "featureTags": [{"featureName": key, "tagType": kind, "tagValue": value} for key, kind, value in tags],
        "tagTypes": [{"name": kind} for kind in dict.fromkeys(kind for _, kind, _ in tags)],
        "segments": [{"id": segment.id, "name": segment.name} for segment in segments],
        "dependencies": [
            {"feature": feature.name, "dependencies": msgspec.to_builtins(feature.dependencies)}
            for feature in kept
            if feature.dependencies
        ],
    }
    described = {"segments": msgspec.to_builtins(segments)}
    return Exported(document=document, segments=described, notes=notes, refused=refused)


def _lost(flag: model.Flag) -> Iterable[Note]:
    """What Unleash has no place for."""
    off = next((variant for variant in flag.variants if variant.name == flag.off_variant), None)
    if off is not None and off.value is not None:
        yield Note(
            "off_variant", "Unleash gives no variant while a flag is off, and so not this one's value.", "remark"
        )


def _redrawn(feature: WireFeature) -> Iterable[Note]:
    """Shares that do not stay as they are: who is given what depends on the sum of the weights, and on the order."""
    for variants in (feature.variants, *(strategy.variants for strategy in feature.strategies)):
        names = [variant.name for variant in variants]
        folded = [name.lower() for name in names]
        is_in_order = names == sorted(names) and folded == sorted(folded)
        if len(variants) > 1 and (sum(variant.weight for variant in variants) != WHOLE or not is_in_order):
            yield Note(
                "rules",
                "Unleash's server keeps weights in thousandths and variants by name, and shares out by that:"
                " each is given to as many, but not to the same ones.",
                "redrawn",
            )
            return


def _in_thousandths(variants: Sequence[WireVariant]) -> list[dict[str, Any]]:
    """Variants as Unleash's server keeps them: by name, and with fixed weights, but for one that has the rest. (Those
    whose weights are not fixed it gives equal shares.)"""
    ordered = sorted(variants, key=lambda variant: variant.name)
    total, begin, before = sum(variant.weight for variant in ordered), 0, 0
    found = []
    for variant in ordered:
        before += variant.weight
        end = round(before * WHOLE / total)
        found.append(msgspec.to_builtins(variant) | {"weight": end - begin, "weightType": "fix"})
        begin = end
    if found:
        found[-1]["weightType"] = "variable"
    return found


def _feature(feature: WireFeature, definition: Definition) -> dict[str, Any]:
    return {
        "name": feature.name,
        "type": _TYPES[definition.kind],
        "description": definition.description,
        "project": feature.project,
        "stale": False,
        "impressionData": False,
        "archived": False,
    }


def _strategies(feature: WireFeature, flag: model.Flag) -> Iterable[dict[str, Any]]:
    """The feature's strategies. Where each stands for one rule, it keeps the rule's id and description."""
    is_one_to_one = len(feature.strategies) == len(flag.rules)
    for position, strategy in enumerate(feature.strategies):
        of = {"id": flag.rules[position].id, "title": flag.rules[position].description} if is_one_to_one else {}
        own = {"featureName": feature.name, "sortOrder": position, "disabled": False}
        yield of | own | msgspec.to_builtins(strategy) | {"variants": _in_thousandths(strategy.variants)}


def _tag(tag: str) -> tuple[str, str]:
    """A tag's type and value."""
    kind, mark, value = tag.partition(":")
    return (kind, value) if mark and kind and value else (_PLAIN_TAG, tag)


def _context_fields(features: Iterable[WireFeature], segments: Iterable[WireSegment]) -> list[dict[str, Any]]:
    """The properties that are asked for, which Unleash wants to know by name before it takes such a strategy."""
    asked: dict[str, bool] = {}
    for feature in features:
        for strategy in feature.strategies:
            asked |= {one.context_name: asked.get(one.context_name, False) for one in strategy.constraints}
            hashed = [strategy.parameters.stickiness, *(variant.stickiness for variant in strategy.variants)]
            asked |= dict.fromkeys(hashed, True)
        asked |= dict.fromkeys([variant.stickiness for variant in feature.variants], True)
    for segment in segments:
        asked |= {one.context_name: asked.get(one.context_name, False) for one in segment.constraints}
    known = {*FIELDS, model.BY_DEFAULT, model.BY_RANDOM}
    return [{"name": name, "stickiness": is_hashed} for name, is_hashed in sorted(asked.items()) if name not in known]
