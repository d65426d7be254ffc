"""An environment in the format that Unleash's admin pages export and import.

What SDKs of Unleash's are sent, in lists of their own by feature, with what people see of a flag besides. Segments have
their constraints, which Unleash's own exports lack: its import wants segments of these names to be there.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from fader import model
from fader_server.exports.exported import Exported, refused_of
from fader_server.imports.wanted import Acceptable
from fader_server.storage.records import Definition, FlagKind
from fader_server.unleash.contexts import FIELDS
from fader_server.unleash.notes import Note
from fader_server.unleash.outward import outward
from fader_server.unleash.wire import WireFeature, WireSegment

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
    notes = {key: (*state.notes.get(key, ()), *_lost(flag)) for key, flag in snapshot.flags.items()}
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
                "variants": msgspec.to_builtins(feature.variants),
            }
            for feature in kept
        ],
        "contextFields": _context_fields(kept, segments),
        "featureTags": [{"featureName": key, "tagType": kind, "tagValue": value} for key, kind, value in tags],
        "tagTypes": [{"name": kind} for kind in dict.fromkeys(kind for _, kind, _ in tags)],
        "segments": msgspec.to_builtins(segments),
        "dependencies": [
            {"feature": feature.name, "dependencies": msgspec.to_builtins(feature.dependencies)}
            for feature in kept
            if feature.dependencies
        ],
    }
    return Exported(document=document, notes=notes, refused=refused)


def _lost(flag: model.Flag) -> Iterable[Note]:
    """What Unleash has no place for."""
    off = next((variant for variant in flag.variants if variant.name == flag.off_variant), None)
    if off is not None and off.value is not None:
        yield Note(
            "off_variant", "Unleash gives no variant while a flag is off, and so not this one's value.", "remark"
        )


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
        yield of | own | msgspec.to_builtins(strategy)


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
