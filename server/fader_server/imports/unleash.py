"""Unleash's documents: what its client API answers (whole, or as a delta), and what its admin pages export.

An export differs in its shape from what SDKs get. It has everything in lists of its own, by feature; it has archived
features and disabled strategies, which SDKs are never told of; and of segments it has only numbers and names. Whoever
has their constraints adds them: ``segments`` is also the name of the list that ``GET /api/admin/segments`` answers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from fader import model
from fader_server.imports.wanted import UnreadableError, Wanted, WantedFlag, WantedSegment, converted
from fader_server.storage.records import FlagKind
from fader_server.unleash.model import (
    Dependency,
    Document,
    Feature,
    Segment,
    State,
    Strategy,
    UnleashModel,
    Variant,
)
from fader_server.unleash.notes import Note
from fader_server.unleash.state import state_of
from fader_server.unleash.translation import TranslatedFlag, translate

_KINDS: Final[dict[str, FlagKind]] = {
    "release": "release",
    "experiment": "experiment",
    "operational": "ops",
    "kill-switch": "ops",
    "permission": "permission",
}


class _Feature(UnleashModel, frozen=True, kw_only=True):
    name: str
    type: str | None = None
    description: str | None = None
    archived: bool | None = None
    impression_data: bool | None = None


class _FeatureStrategy(Strategy, frozen=True, kw_only=True):
    feature_name: str
    sort_order: float | None = None


class _FeatureEnvironment(UnleashModel, frozen=True, kw_only=True):
    feature_name: str
    enabled: bool
    environment: str | None = None
    variants: tuple[Variant, ...] | None = None


class _FeatureTag(UnleashModel, frozen=True, kw_only=True):
    feature_name: str
    tag_value: str
    tag_type: str | None = None


class _FeatureDependencies(UnleashModel, frozen=True, kw_only=True):
    feature: str
    dependencies: tuple[Dependency, ...] = ()


class _Export(UnleashModel, frozen=True, kw_only=True):
    features: tuple[_Feature, ...]
    feature_strategies: tuple[_FeatureStrategy, ...] = ()
    feature_environments: tuple[_FeatureEnvironment, ...] = ()
    feature_tags: tuple[_FeatureTag, ...] = ()
    segments: tuple[Segment, ...] = ()
    dependencies: tuple[_FeatureDependencies, ...] = ()


def wanted(document: Mapping[str, object], environment: str) -> Wanted:
    """What a document of Unleash's comes to.

    Args:
        document: Decoded: an export, or an answer of the client API.
        environment: Where it is to go.

    Raises:
        UnreadableError: if it is none of Unleash's.
    """
    if "featureStrategies" in document or "featureEnvironments" in document:
        return _from_export(converted(document, _Export), environment)
    if "features" in document or "events" in document:
        return _from_state(state_of(converted(document, Document)), {}, {}, frozenset(), ())
    raise UnreadableError(
        "",
        "has neither features nor events, as Unleash's documents have",
        "Export flags in Unleash's project page, or save what GET /api/client/features answers.",
    )


def _from_export(export: _Export, environment: str) -> Wanted:
    places = {one.environment for one in export.feature_environments if one.environment}
    if len(places) > 1:
        named = ", ".join(sorted(places))
        raise UnreadableError(
            "featureEnvironments",
            f"are of several environments, whose strategies nobody can tell apart: {named}",
            f"Export one of them, such as {environment}.",
        )
    switched = {one.feature_name: one for one in export.feature_environments}
    strategies: dict[str, list[_FeatureStrategy]] = defaultdict(list)
    for strategy in sorted(export.feature_strategies, key=lambda one: one.sort_order or 0):
        strategies[strategy.feature_name].append(strategy)
    dependencies = {one.feature: one.dependencies for one in export.dependencies}
    tags: dict[str, list[str]] = defaultdict(list)
    for tag in export.feature_tags:
        tags[tag.feature_name].append(f"{tag.tag_type or 'simple'}:{tag.tag_value}")
    archived = sorted(one.name for one in export.features if one.archived)
    features = {
        one.name: Feature(
            name=one.name,
            type=one.type,
            description=one.description,
            impression_data=one.impression_data,
            enabled=one.name in switched and switched[one.name].enabled,
            variants=switched[one.name].variants if one.name in switched else None,
            strategies=tuple(strategies[one.name]),
            dependencies=dependencies.get(one.name),
        )
        for one in export.features
        if not one.archived
    }
    notes = {name: tuple(_export_notes(feature)) for name, feature in features.items()}
    remarks = [f"Archived in Unleash, and left out: {', '.join(archived)}."] if archived else []
    remarks += [f"Exported from {place!r}." for place in places if place != environment]
    nameless = frozenset(one.id for one in export.segments if one.constraints is None)
    segments = {one.id: one for one in export.segments}
    return _from_state(State(features=features, segments=segments), notes, tags, nameless, tuple(remarks))


def _export_notes(feature: Feature) -> Iterable[Note]:
    """What only an export can have: SDKs are not told of disabled strategies, and take none for everybody."""
    strategies = feature.strategies or ()
    if feature.enabled and strategies and all(strategy.disabled for strategy in strategies):
        yield Note(
            "strategies",
            "All of them are disabled and the flag is not, so that Unleash's SDKs let everybody in; here it is nobody.",
        )


def _from_state(
    state: State,
    more_notes: Mapping[str, tuple[Note, ...]],
    tags: Mapping[str, list[str]],
    nameless: frozenset[int],
    remarks: tuple[str, ...],
) -> Wanted:
    translation = translate(state)
    return Wanted(
        flags=tuple(
            _flag(translated, state.features[name], more_notes.get(name, ()), tuple(dict.fromkeys(tags.get(name, ()))))
            for name, translated in translation.flags.items()
        ),
        segments=tuple(
            WantedSegment(
                key=key,
                segment=None if translated.segment.id in nameless else translated.segment,
                notes=translated.notes,
            )
            for key, translated in translation.segments.items()
        ),
        remarks=remarks,
    )


def _flag(
    translated: TranslatedFlag, feature: Feature, more_notes: tuple[Note, ...], tags: tuple[str, ...]
) -> WantedFlag:
    notes = (*more_notes, *translated.notes)
    if feature.impression_data:
        notes = (*notes, Note("impressionData", "Fader sends no impression events.", "remark"))
    return WantedFlag(
        flag=_plainly(translated.flag),
        description=feature.description,
        kind=None if feature.type is None else _KINDS.get(feature.type, "release"),
        tags=tags,
        notes=notes,
    )


def _plainly(flag: model.Flag) -> model.Flag:
    """The same flag with its own key left out as a salt, which stands for it: Unleash writes it down everywhere."""

    def salted(salt: str) -> str:
        return "" if salt == flag.key else salt

    rules = []
    for rule in flag.rules:
        rollout = replace(rule.rollout, salt=salted(rule.rollout.salt))
        if rollout.percentage == 100 and rollout.by in (model.BY_DEFAULT, model.BY_RANDOM):
            rollout = model.Rollout()  # everybody, whatever is hashed
        split = rule.split and replace(rule.split, salt=salted(rule.split.salt))
        rules.append(replace(rule, rollout=rollout, split=split))
    return replace(flag, rules=tuple(rules))
