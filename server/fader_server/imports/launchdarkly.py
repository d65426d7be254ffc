"""LaunchDarkly's flags: as its SDKs are sent them (``{"flags": …, "segments": …}``), or as its REST API lists them.

Its order of evaluation is ours: off, prerequisites, targets, rules, and what all others get. Targets become rules
before the others; what all others get becomes the last rule. Its shares are drawn by another hash: as many users as
before are given each variation, but not the same ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from fader import model
from fader_server.imports.launchdarkly_clauses import PASSED, USER, KnownSegment, alternatives, is_of_users
from fader_server.imports.launchdarkly_model import Prerequisite, RestFlag, Rule, SdkFlag, Segment, Serving, Settings
from fader_server.imports.launchdarkly_segments import translate_segments
from fader_server.imports.launchdarkly_variants import Variants, variants_of
from fader_server.imports.wanted import UnreadableError, Wanted, WantedFlag, converted, converted_each
from fader_server.unleash.contexts import attribute_name
from fader_server.unleash.notes import Notebook

_WHOLE: Final = 100_000
"""The sum of the weights of a rollout."""
_REDRAWN: Final = "Fader draws by another hash: each variation is given to as many as before, but not to the same ones."


class _Flag(Struct, frozen=True, kw_only=True):
    """A flag of either form, in one environment; ``path`` leads to its settings."""

    key: str
    settings: Settings
    values: tuple[Any, ...]
    names: tuple[str | None, ...]
    path: str = ""
    about: RestFlag | None = None


def wanted(document: Mapping[str, object], environment: str) -> Wanted:
    """What a document of LaunchDarkly's comes to.

    Args:
        document: Decoded: what SDKs are sent, or an answer of the REST API about flags, with ``segments`` beside them.
        environment: Where it is to go; of flags with settings for several environments, those for the one of this name
            are taken.

    Raises:
        UnreadableError: if it is none of LaunchDarkly's.
    """
    data = document.get("data", document)
    if not isinstance(data, Mapping):
        raise UnreadableError("data", "is no object")
    segments = _segments(data.get("segments"))
    if "items" in data or "environments" in data:
        listed = converted(data.get("items", [data]), tuple[RestFlag, ...], "items")
        flags, remarks = _of_rest(listed, environment)
        remarks += _absent(data.get("totalCount"), len(listed))
    elif "flags" in data:
        flags, remarks = _of_sdk(converted_each(data["flags"], SdkFlag, "flags")), []
    else:
        raise UnreadableError(
            "",
            "has neither flags nor items, as LaunchDarkly's documents have",
            "Save what GET /api/v2/flags/{project}?env={environment}&summary=0 answers.",
        )
    wanted_segments, known = translate_segments(segments)
    found = {flag.key: flag for flag in flags}
    if any(flag.settings.rules for flag in flags):
        remarks.append(PASSED)
    return Wanted(
        flags=tuple(_wanted(flag, found, known) for flag in flags),
        segments=tuple(wanted_segments),
        remarks=tuple(remarks),
    )


def _segments(given: object) -> dict[str, Segment]:
    """By key: as SDKs are sent them, or as the REST API lists them."""
    if isinstance(given, Mapping) and "items" in given:
        given = given["items"]
    if isinstance(given, list):
        return {one.key: one for one in converted(given, tuple[Segment, ...], "segments")}
    return converted_each(given or {}, Segment, "segments")


def _of_sdk(flags: Mapping[str, SdkFlag]) -> list[_Flag]:
    return [
        _Flag(key=key, settings=flag, values=flag.variations or (), names=(None,) * len(flag.variations or ()))
        for key, flag in flags.items()
        if not flag.deleted
    ]


def _of_rest(flags: Sequence[RestFlag], environment: str) -> tuple[list[_Flag], list[str]]:
    found, archived, absent = list[_Flag](), list[str](), list[str]()
    for flag in flags:
        # An answer about one environment has just that one, whatever it is called.
        [only, *others] = flag.environments or [environment]
        name = environment if others else only
        if flag.archived:
            archived.append(flag.key)
        elif name not in flag.environments:
            absent.append(flag.key)
        else:
            found.append(
                _Flag(
                    key=flag.key,
                    settings=flag.environments[name],
                    values=tuple(variation.value for variation in flag.variations),
                    names=tuple(variation.name for variation in flag.variations),
                    path=f"environments.{name}",
                    about=flag,
                )
            )
    remarks = [f"Archived in LaunchDarkly, and left out: {', '.join(sorted(archived))}."] if archived else []
    if absent:
        remarks.append(f"Without settings for {environment!r}, and left out: {', '.join(sorted(absent))}.")
    return found, remarks


def _absent(total: object, listed: int) -> list[str]:
    """What to say of a page that has not all flags: LaunchDarkly answers with so many at once."""
    if not isinstance(total, int) or total <= listed:
        return []
    return [f"Only {listed:,} of {total:,} flags are in the document: fetch the others, too, with offset={listed}."]


def _wanted(flag: _Flag, flags: Mapping[str, _Flag], segments: Mapping[str, KnownSegment]) -> WantedFlag:
    notebook = Notebook()
    place = notebook.along(flag.path)
    named = _variants_of(flag, notebook.at("variations"), place.at("offVariation"))
    rules = [*_targets(flag.settings, named, place)]
    for number, rule in enumerate(flag.settings.rules or (), start=1):
        rules += _rules(rule, number, named, segments, place.at("rules").at(number - 1))
    rules.append(_for_all_others(flag.settings.fallthrough or Serving(), named, place.at("fallthrough")))
    about = flag.about
    return WantedFlag(
        flag=model.Flag(
            key=flag.key,
            enabled=flag.settings.on,
            type=named.type,
            variants=named.variants,
            off_variant=named.off,
            prerequisites=tuple(
                _prerequisite(prerequisite, flags, place.at("prerequisites").at(position))
                for position, prerequisite in enumerate(flag.settings.prerequisites or ())
            ),
            rules=tuple(rules),
        ),
        description=None if about is None else about.description or about.name,
        kind=None if about is None or about.temporary is None else "release" if about.temporary else "ops",
        tags=() if about is None else tuple(about.tags or ()),
        notes=notebook.notes,
    )


def _variants_of(flag: _Flag, notebook: Notebook, off_place: Notebook) -> Variants:
    settings = flag.settings
    return variants_of(
        flag.values,
        flag.names,
        settings.off_variation,
        notebook,
        off_place,
        is_ever_off=not settings.on or bool(settings.prerequisites),
    )


def _targets(settings: Settings, named: Variants, notebook: Notebook) -> list[model.Rule]:
    """Rules for those who are named by their keys. Lists by kinds of contexts come first, if there are any; an empty
    one of users stands for the plain list of the same variation."""
    plain = settings.targets or ()
    listed = [
        (target, notebook.at("contextTargets").at(position))
        for position, target in enumerate(settings.context_targets or ())
    ] or [(target, notebook.at("targets").at(position)) for position, target in enumerate(plain)]
    rules = []
    for number, (target, place) in enumerate(listed, start=1):
        keys = target.values or ()
        if settings.context_targets and not keys and target.context_kind in (None, "", USER):
            keys = tuple(key for one in plain if one.variation == target.variation for key in one.values or ())
        if keys and is_of_users(target.context_kind, place):
            constraint = model.Constraint(attribute=model.TARGETING_KEY, operator="in", values=keys)
            variant = named.name_of(target.variation, place.at("variation"))
            rules.append(model.Rule(id=f"targets-{number}", constraints=(constraint,), variant=variant))
    return rules


def _rules(
    rule: Rule, number: int, named: Variants, segments: Mapping[str, KnownSegment], notebook: Notebook
) -> list[model.Rule]:
    identifier = rule.id or rule.rest_id or f"rule-{number}"
    variant, split = _serving(rule, named, notebook)
    found = alternatives(rule.clauses or (), segments, notebook)
    return [
        model.Rule(
            id=identifier if count == 1 else f"{identifier}-{count}",
            description=rule.description or "",
            constraints=alternative.constraints,
            segments=tuple(dict.fromkeys(alternative.segments)),
            variant=variant,
            split=split,
        )
        for count, alternative in enumerate(found, start=1)
    ]


def _for_all_others(serving: Serving, named: Variants, notebook: Notebook) -> model.Rule:
    variant, split = _serving(serving, named, notebook)
    if split is not None and {one.variant for one in split.variants} == {model.ON, model.OFF} and not named.variants:
        # A share of a boolean flag is a percentage, which `fader rollout` changes: it is the last rule, and who is not
        # let in is off.
        [on] = [one.weight for one in split.variants if one.variant == model.ON]
        total = sum(one.weight for one in split.variants)
        if total == _WHOLE:
            rollout = model.Rollout(percentage=on / 1000, by=split.by)
            return model.Rule(id="fallthrough", rollout=rollout, variant=model.ON)
    return model.Rule(id="fallthrough", variant=variant, split=split)


def _serving(serving: Serving, named: Variants, notebook: Notebook) -> tuple[str | None, model.Split | None]:
    if serving.variation is not None:
        return named.name_of(serving.variation, notebook.at("variation")), None
    place = notebook.at("rollout")
    rollout = serving.rollout
    if rollout is None or not rollout.variations:
        place.write("Neither a variation is served, nor several.")
        return None, None
    is_of_users(rollout.context_kind, place)
    weights: dict[str, int] = {}
    for position, share in enumerate(rollout.variations):
        name = named.name_of(share.variation, place.at("variations").at(position).at("variation"))
        if name is not None and share.weight > 0:
            weights[name] = weights.get(name, 0) + share.weight
    total = sum(weights.values())
    if total < _WHOLE and (last := named.name_of(rollout.variations[-1].variation, place)) is not None:
        weights[last] = weights.get(last, 0) + _WHOLE - total  # who is past the end gets the last one
    if len(weights) == 1:
        return next(iter(weights)), None
    place.write(_REDRAWN, "redrawn")
    by = _attribute_of(rollout.bucket_by)
    shares = tuple(model.WeightedVariant(variant=name, weight=weight) for name, weight in weights.items())
    return None, model.Split(variants=shares, by=by)


def _attribute_of(bucket_by: str | None) -> str:
    """What a rollout draws by."""
    name = (bucket_by or "key").removeprefix("/")
    return model.BY_DEFAULT if name == "key" else attribute_name(name)


def _prerequisite(prerequisite: Prerequisite, flags: Mapping[str, _Flag], notebook: Notebook) -> model.Prerequisite:
    parent = flags.get(prerequisite.key)
    if parent is None:
        notebook.at("key").write(f"There is no flag {prerequisite.key!r} in the document.")
        return model.Prerequisite(flag=prerequisite.key)
    named = _variants_of(parent, Notebook(), Notebook())
    name = named.name_of(prerequisite.variation, notebook.at("variation"))
    if name == named.off:
        notebook.at("variation").write(
            "It is the one that the flag serves while it is off: LaunchDarkly asks that the flag is on all the same."
        )
    if name is None or not named.variants:
        return model.Prerequisite(flag=prerequisite.key)
    return model.Prerequisite(flag=prerequisite.key, variants=(name,))
