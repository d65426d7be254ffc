"""An environment in the format that flagd and its providers read.

Their flags have no toggle, and no prerequisites: one that is off here has just its off variant there.
"""

from collections.abc import Mapping
from typing import Any

from fader import model
from fader_server.exports.exported import Exported, refused_of
from fader_server.exports.flagd_conditions import (
    Logic,
    all_of,
    constraint_of,
    rollout_of,
    segment_of,
    split_of,
)
from fader_server.imports.wanted import Acceptable
from fader_server.storage.records import Definition
from fader_server.unleash.notes import Note, Notebook


def exported(
    snapshot: model.Snapshot, definitions: Mapping[str, Definition], accepted: frozenset[Acceptable]
) -> Exported:
    """The document of an environment.

    Args:
        snapshot: The environment.
        definitions: What people see of its flags, by key.
        accepted: What may be in it although it is not exact.
    """
    evaluators: dict[str, Logic] = {}
    faults: dict[str, tuple[Note, ...]] = {}
    for key, segment in snapshot.segments.items():
        notebook = Notebook()
        evaluators[key] = segment_of(segment, notebook)
        faults[key] = notebook.notes
    flags: dict[str, dict[str, Any]] = {}
    notes: dict[str, tuple[Note, ...]] = {}
    for key, flag in sorted(snapshot.flags.items()):
        notebook = Notebook()
        written = _Writer(flag, evaluators, faults, notebook).flag()
        if definitions[key].description:
            written["metadata"] = {"description": definitions[key].description}
        flags[key], notes[key] = written, notebook.notes
    refused = refused_of(notes, {}, accepted)
    named = {
        segment
        for key, flag in snapshot.flags.items()
        if key not in refused and flag.enabled
        for rule in flag.rules
        for segment in rule.segments
    }
    return Exported(
        document={
            "flags": {key: flag for key, flag in flags.items() if key not in refused},
            "$evaluators": {key: found for key, found in evaluators.items() if key in named and _is_rule(found)},
            "metadata": {
                "flagSetId": f"{snapshot.project}/{snapshot.environment}",
                "version": str(snapshot.revision),
            },
        },
        notes=notes,
        refused=refused,
    )


def _is_rule(found: Logic) -> bool:
    return isinstance(found, dict)


class _Writer:
    """Writes one flag."""

    def __init__(
        self,
        flag: model.Flag,
        evaluators: Mapping[str, Logic],
        faults: Mapping[str, tuple[Note, ...]],
        notebook: Notebook,
    ) -> None:
        self._flag = flag
        self._evaluators = evaluators
        self._faults = faults
        self._notebook = notebook
        listed = flag.variants or (model.Variant(name=model.ON, value=True), model.Variant(name=model.OFF, value=False))
        self._values = {variant.name: variant.value for variant in listed}
        # The caller's own default is what they give for null, if the flag has no default of its own.
        gives_own = self._values.get(flag.off_variant) is None
        self._names = {
            name: None if value is None or (name == flag.off_variant and gives_own) else name
            for name, value in self._values.items()
        }

    def flag(self) -> dict[str, Any]:
        """The flag as one of flagd's."""
        flag, off = self._flag, self._names.get(self._flag.off_variant)
        self._check_values(off)
        if not flag.enabled:
            if flag.rules or flag.prerequisites:
                self._notebook.remark("It is off, and its rules are not in the document.")
            return self._written(off, None)
        if flag.prerequisites:
            self._notebook.at("prerequisites").write("flagd has nothing like prerequisites.")
        if not flag.rules:
            return self._written(next(iter(self._names.values())), None)
        branches: list[Logic] = []
        for position, rule in enumerate(flag.rules):
            place = self._notebook.at("rules").at(position)
            condition, served = self._condition(rule, place), self._served(rule, place)
            if condition is True:
                return self._decided(branches, served, off)
            if condition is not False:
                branches += [condition, served]
        return self._decided(branches, off, off)

    def _decided(self, branches: list[Logic], last: Logic, off: str | None) -> dict[str, Any]:
        """A flag whose branches are tried in order, with what all others are served."""
        if branches:
            return self._written(off, {"if": branches if last == off else [*branches, last]})
        return self._written(off, last) if isinstance(last, dict) else self._written(last, None)

    def _written(self, default: str | None, targeting: Logic) -> dict[str, Any]:
        written: dict[str, Any] = {
            "state": "ENABLED",
            "variants": {name: value for name, value in self._values.items() if value is not None},
            "defaultVariant": default,
        }
        return written if targeting is None else written | {"targeting": targeting}

    def _condition(self, rule: model.Rule, notebook: Notebook) -> Logic:
        asked = [
            constraint_of(constraint, notebook.at("constraints").at(position))
            for position, constraint in enumerate(rule.constraints)
        ]
        for position, key in enumerate(rule.segments):
            notebook.at("segments").at(position).add(self._faults.get(key, ()))
            found = self._evaluators.get(key, False)
            asked.append({"$ref": key} if _is_rule(found) else found)
        return all_of([*asked, rollout_of(rule.rollout, self._flag.key, notebook.at("rollout"))])

    def _served(self, rule: model.Rule, notebook: Notebook) -> Logic:
        if rule.split is not None:
            return split_of(rule.split, self._names, self._flag.key, notebook.at("split"))
        return self._names[rule.variant or next(iter(self._names))]

    def _check_values(self, off: str | None) -> None:
        values = {name: value for name, value in self._values.items() if value is not None}
        place = self._notebook.at("variants")
        if not values:
            place.write("flagd wants at least one variant with a value.")
        elif len({_type(value) for value in values.values()}) > 1 or "" in map(_type, values.values()):
            place.write("flagd wants values of one type: booleans, texts, numbers, or objects.")
        if off is not None and len(values) < len(self._values):
            place.write("flagd cannot give the caller's own default where it gives a value while the flag is off.")


def _type(value: Any) -> str:
    """Which of flagd's types a value has; empty if it has none of them."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
    return ""
