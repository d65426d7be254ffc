"""From Unleash's features and segments to flags and segments of ours that answer the same.

A strategy becomes a rule; overrides of variants become rules before it. Whatever cannot be read lets nobody
in, and a feature that has strategies always has rules: an empty list of rules would mean that the flag is on
for everyone.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from fader import model
from fader_server.unleash.constraints import ALWAYS, NEVER, as_text, translate_constraint
from fader_server.unleash.contexts import attribute_name
from fader_server.unleash.model import Dependency, Feature, Override, Segment, State, Strategy, Variant
from fader_server.unleash.notes import Note, Notebook
from fader_server.unleash.strategies import Admission, admission
from fader_server.unleash.variants import NO_VARIANT, Original, VariantSet, serving, variant_set

_KEY: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._~-]+")


class TranslatedFlag(Struct, frozen=True):
    """A flag of ours that answers like a feature of Unleash's.

    ``originals`` gives, for each variant that stands for one of Unleash's, its name and payload there; the
    flag's other variants mean *off* and *on without a variant*. ``notes`` tell what is not carried exactly.
    """

    flag: model.Flag
    originals: dict[str, Original] = {}
    notes: tuple[Note, ...] = ()


class TranslatedSegment(Struct, frozen=True):
    """A segment of ours with the members of one of Unleash's, whose number it keeps."""

    segment: model.Segment
    notes: tuple[Note, ...] = ()


class Translation(Struct, frozen=True):
    """All of a state: flags under their keys, which are the features' names, and segments under keys of
    ours."""

    flags: dict[str, TranslatedFlag]
    segments: dict[str, TranslatedSegment]


def translate(state: State) -> Translation:
    """Translate the features and segments of one environment.

    Exact for everything that Unleash's client specification covers. Where Unleash's own engines answer
    differently from one another, one answer is chosen, and noted.
    """
    segment_keys = _segment_keys(state.segments)
    segments = {segment_keys[number]: _segment(s, segment_keys[number]) for number, s in state.segments.items()}
    notebooks = {name: Notebook() for name in state.features}
    named = {name: variant_set(feature, notebooks[name]) for name, feature in state.features.items()}
    flags = {
        name: _flag(feature, state, segment_keys, named, notebooks[name]) for name, feature in state.features.items()
    }
    return Translation(flags, segments)


def _flag(
    feature: Feature,
    state: State,
    segment_keys: Mapping[int, str],
    named: Mapping[str, VariantSet],
    notebook: Notebook,
) -> TranslatedFlag:
    if not _KEY.fullmatch(feature.name):
        notebook.at("name").write("The name has characters that a flag's key may not have when it is written.")
    own = named[feature.name]
    rules = [
        rule
        for position, strategy in enumerate(feature.strategies or ())
        for rule in _rules(feature, strategy, position, segment_keys, own, notebook)
    ]
    if not feature.strategies and own.variants:
        rules = _rules(feature, Strategy(name="default"), 0, segment_keys, own, notebook)
    prerequisites: list[model.Prerequisite] = []
    # Each once: Unleash's server repeats a feature's dependencies for each of its strategies.
    for position, dependency in enumerate(dict.fromkeys(feature.dependencies or ())):
        prerequisite = _prerequisite(dependency, state, named, notebook.at("dependencies").at(position))
        if prerequisite is not None:
            prerequisites.append(prerequisite)
        else:
            rules = [
                replace(rule, constraints=(NEVER, *rule.constraints)) for rule in rules or [model.Rule(id="never")]
            ]
    flag = model.Flag(
        key=feature.name,
        enabled=feature.enabled,
        type=own.type,
        variants=own.variants,
        off_variant=own.off,
        prerequisites=tuple(prerequisites),
        rules=tuple(rules),
    )
    return TranslatedFlag(flag, own.originals, notebook.notes)


def _rules(
    feature: Feature,
    strategy: Strategy,
    position: int,
    segment_keys: Mapping[int, str],
    named: VariantSet,
    notebook: Notebook,
) -> list[model.Rule]:
    """The rules that stand for one strategy: one for each override, then one for everybody else."""
    place = notebook.at("strategies").at(position)
    admitted = admission(strategy, segment_keys, place)
    identifier = strategy.id or f"strategy-{position + 1}"
    description = strategy.title or ""
    parameters = {name: as_text(value) for name, value in (strategy.parameters or {}).items()}
    if strategy.variants:
        listed, overrides = place.at("variants"), list[tuple[Variant, model.Constraint]]()
        stickiness = parameters.get("stickiness") or strategy.variants[0].stickiness or ""
        if strategy.variants[0].stickiness not in (None, "", stickiness):
            listed.at(0).at("stickiness").write(
                f"Unleash's engines disagree whether variants or strategy decide this; it is {stickiness!r}.",
                "disputed",
            )
        if len(strategy.variants) > 1 and not parameters.get("groupId"):
            place.at("parameters").write(
                "Unleash's engines disagree about what variants are hashed with where there is no groupId;"
                " it is the flag's name.",
                "disputed",
            )
        served = serving(strategy.variants, stickiness, parameters.get("groupId", ""), named, listed)
    else:
        shared = feature.variants or ()
        listed, overrides = notebook.at("variants"), _overrides(shared)
        served = serving(shared, (shared[0].stickiness if shared else None) or "", "", named, listed)
    others: tuple[model.Constraint, ...] = ()
    tests: list[tuple[Variant, tuple[model.Constraint, ...]]] = [(variant, (test,)) for variant, test in overrides]
    if admitted.may_draw:
        # Whom one rule's draw keeps out must not be drawn again by the next rule of the same strategy.
        tests, others = _disjoint(overrides), tuple(_inverse(test) for _, test in overrides)
    rules = [
        _rule(f"{identifier}-override-{number}", description, admitted, constraints, named.name_of(variant))
        for number, (variant, constraints) in enumerate(tests, start=1)
    ]
    return [*rules, _rule(identifier, description, admitted, others, served.variant, served.split)]


def _rule(
    identifier: str,
    description: str,
    admitted: Admission,
    constraints: tuple[model.Constraint, ...],
    variant: str | None,
    split: model.Split | None = None,
) -> model.Rule:
    return model.Rule(
        id=identifier,
        description=description,
        constraints=(*admitted.constraints, *constraints),
        segments=admitted.segments,
        rollout=admitted.rollout,
        variant=variant,
        split=split,
    )


def _overrides(variants: Sequence[Variant]) -> list[tuple[Variant, model.Constraint]]:
    """Every override, in order, with the variant that it gives and the test of whom it gives it to."""
    return [(variant, _override_test(override)) for variant in variants for override in variant.overrides or ()]


def _override_test(override: Override) -> model.Constraint:
    return model.Constraint(
        attribute=attribute_name(override.context_name),
        operator="in",
        values=tuple(as_text(value) for value in override.values or ()),
    )


def _inverse(test: model.Constraint) -> model.Constraint:
    return replace(test, inverted=not test.inverted)


def _disjoint(
    overrides: Sequence[tuple[Variant, model.Constraint]],
) -> list[tuple[Variant, tuple[model.Constraint, ...]]]:
    """The overrides so that no two hold for one context: each also asks that none of those before it does."""
    return [
        (variant, (*(_inverse(earlier) for _, earlier in overrides[:number]), test))
        for number, (variant, test) in enumerate(overrides)
    ]


def _prerequisite(
    dependency: Dependency, state: State, named: Mapping[str, VariantSet], notebook: Notebook
) -> model.Prerequisite | None:
    """Our prerequisite for a dependency, or None where Unleash's can never hold and ours could."""
    enabled = dependency.enabled is not False
    parent = state.features.get(dependency.feature)
    if parent is None:
        notebook.at("feature").write(f"There is no feature {dependency.feature!r}, so the flag is off for everyone.")
        return model.Prerequisite(flag=dependency.feature, enabled=enabled)
    if parent.dependencies:
        notebook.at("feature").remark(
            f"{dependency.feature!r} depends on another feature itself. Unleash follows one level only and"
            " keeps the flag off, so its rules let nobody in."
        )
        return None
    if not dependency.variants:
        return model.Prerequisite(flag=dependency.feature, enabled=enabled)
    if not enabled:
        notebook.at("variants").write("The variants of a feature that is to be off are left out.", "disputed")
        return model.Prerequisite(flag=dependency.feature, enabled=False)
    parents = named[dependency.feature]
    if parents.on is not None and NO_VARIANT not in dependency.variants:
        notebook.at("variants").write(
            f"Unleash's engines disagree when {dependency.feature!r} is on without a variant: here the flag is off.",
            "disputed",
        )
    names = tuple(name for wanted in dependency.variants for name in parents.names_for(wanted))
    if not names:
        notebook.at("variants").remark(f"{dependency.feature!r} has none of these variants: the rules let nobody in.")
        return None
    return model.Prerequisite(flag=dependency.feature, variants=names)


def _segment(segment: Segment, key: str) -> TranslatedSegment:
    notebook = Notebook()
    constraints = tuple(
        translate_constraint(constraint, notebook.at("constraints").at(position))
        for position, constraint in enumerate(segment.constraints or ())
    )
    # Where nothing is asked, Unleash lets everybody in; a segment of ours without constraints has no members.
    ours = model.Segment(key=key, id=segment.id, constraints=constraints or (ALWAYS,))
    return TranslatedSegment(ours, notebook.notes)


def _segment_keys(segments: Mapping[int, Segment]) -> dict[int, str]:
    """A key for each segment: its name as far as a key may have it, and its number where that is not
    enough."""
    keys: dict[int, str] = {}
    taken: set[str] = set()
    for number in sorted(segments):
        name = _NOT_IN_KEYS.sub("-", segments[number].name or "").strip("-.")[:100]
        key = name or f"segment-{number}"
        key = f"{key}-{number}" if key in taken else key
        keys[number] = key
        taken.add(key)
    return keys
