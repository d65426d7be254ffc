"""From our flags and segments to features and segments that Unleash's SDKs answer the same by.

Where they cannot be told exactly, they let in fewer, never more, and a note says so. The other direction is
``translation``.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import UNSET, Struct

from fader import model
from fader_server.unleash.notes import Note, Notebook
from fader_server.unleash.portable_rules import Segments, strategies_of
from fader_server.unleash.portable_segments import KeysOfLists, PortableSegment, portable_segment
from fader_server.unleash.prerequisites import Ancestry, dependencies_of
from fader_server.unleash.wire import WireFeature, WireParameters, WireSegment, WireStrategy

_NO_KEYS: Final[KeysOfLists] = {}


class OutwardState(Struct, frozen=True):
    """An environment as Unleash's SDKs are to see it.

    ``features`` are by name, in its order, and ``segments`` by their keys here. ``notes`` tell of each flag that
    Unleash's SDKs answer otherwise for than Fader's: always *off* for some whom Fader lets in. A flag without notes is
    exact. The rest is what ``outward_after`` goes on from.
    """

    snapshot: model.Snapshot
    features: dict[str, WireFeature]
    segments: dict[str, WireSegment]
    notes: dict[str, tuple[Note, ...]]
    portable: dict[str, PortableSegment]
    needs: dict[str, frozenset[str]]
    """Those flags that have prerequisites, and which."""


def outward(snapshot: model.Snapshot, keys_of_lists: KeysOfLists = _NO_KEYS) -> OutwardState:
    """Translate all of an environment.

    Args:
        snapshot: The environment at a revision.
        keys_of_lists: The keys of long lists, by the lists' names, where they are known. A snapshot has only their
            hashes, so that nobody is on the others.
    """
    portable = {key: portable_segment(segment, keys_of_lists) for key, segment in sorted(snapshot.segments.items())}
    nothing = OutwardState(snapshot, {}, {}, {}, {}, {})
    return _Translator(nothing, snapshot, Segments(portable, keys_of_lists)).translated(snapshot.flags.keys())


def outward_after(
    before: OutwardState,
    snapshot: model.Snapshot,
    affected: AbstractSet[str],
    keys_of_lists: KeysOfLists = _NO_KEYS,
) -> OutwardState:
    """Translate what a change affects, and keep the same objects of everything else.

    Args:
        before: What was made of an earlier snapshot of the environment.
        snapshot: The environment now.
        affected: The keys of all flags whose evaluation may differ (``fader.revisions.affected_flags``).
        keys_of_lists: As for ``outward``.
    """
    portable = {
        key: known
        if (known := before.portable.get(key)) is not None and known.segment is segment
        else portable_segment(segment, keys_of_lists)
        for key, segment in sorted(snapshot.segments.items())
    }
    return _Translator(before, snapshot, Segments(portable, keys_of_lists)).translated(affected)


class Sight(Struct, frozen=True):
    """One flag as Unleash's SDKs see it: what they are sent, the segments that this names, and what is lost."""

    feature: WireFeature
    segments: tuple[WireSegment, ...]
    notes: tuple[Note, ...]

    @property
    def is_exact(self) -> bool:
        """Whether they answer as Fader's SDK does, for every context."""
        return all(note.is_remark for note in self.notes)


def sight_of(flag: str, snapshot: model.Snapshot) -> Sight:
    """Translate one flag.

    Args:
        flag: Its key.
        snapshot: That flag, the flags that it needs at any distance, their segments, and those flags that need it.
    """
    state = outward(snapshot)
    feature = state.features[flag]
    named = {number for strategy in feature.strategies for number in strategy.segments or ()}
    segments = tuple(segment for segment in state.segments.values() if segment.id in named)
    return Sight(feature, segments, state.notes.get(flag, ()))


class _Translator:
    """Makes an environment's features, parents first. What stays is copied at once, and not looked at one by one: there
    may be ten thousand flags, and changes come by the second."""

    def __init__(self, before: OutwardState, snapshot: model.Snapshot, segments: Segments) -> None:
        self._before = before
        self._snapshot = snapshot
        self._segments = segments
        self._features = dict(before.features)
        self._notes = dict(before.notes)
        self._needs = dict(before.needs)

    def translated(self, affected: AbstractSet[str]) -> OutwardState:
        """The state in which these flags, and all that hang together with them, are made anew."""
        flags = self._snapshot.flags
        for key in affected:
            self._needs.pop(key, None)
            if key in flags and flags[key].prerequisites:
                self._needs[key] = frozenset(prerequisite.flag for prerequisite in flags[key].prerequisites)
        parents = frozenset[str]().union(*self._needs.values())
        stale = _with_relatives(affected, self._before.needs, self._needs)
        for key in stale - flags.keys():
            self._features.pop(key, None)
            self._notes.pop(key, None)
        for key in _parents_first(stale, flags):
            if key in stale:
                notebook = Notebook()
                self._notes.pop(key, None)
                self._features[key] = self._feature(flags[key], notebook, is_parent=key in parents)
                if notebook.notes:
                    self._notes[key] = notebook.notes
        return OutwardState(
            snapshot=self._snapshot,
            features=self._features if self._before.features.keys() >= stale else dict(sorted(self._features.items())),
            segments={key: found.sent for key, found in self._segments.known.items() if found.sent is not None},
            notes=self._notes,
            portable=dict(self._segments.known),
            needs=self._needs,
        )

    def _feature(self, flag: model.Flag, notebook: Notebook, *, is_parent: bool) -> WireFeature:
        rules = strategies_of(flag, self._segments, notebook)
        dependencies = dependencies_of(
            flag,
            Ancestry(self._snapshot.flags, self._features, self._notes),
            notebook,
            is_parent=is_parent,
        )
        return WireFeature(
            name=flag.key,
            enabled=flag.enabled and bool(rules.strategies) and dependencies is not None,
            project=self._snapshot.project,
            strategies=rules.strategies or (_nobody(flag),),
            variants=rules.variants,
            dependencies=dependencies or UNSET,
        )


def _nobody(flag: model.Flag) -> WireStrategy:
    """A strategy that lets nobody in, for a list that must not be empty."""
    return WireStrategy(
        parameters=WireParameters(rollout="0", stickiness=model.BY_DEFAULT, group_id=flag.key),
    )


def _parents_first(keys: Iterable[str], flags: Mapping[str, model.Flag]) -> list[str]:
    """These flags and all whom they need, each after its own. Without recursion, for chains may be long."""
    ordered: dict[str, None] = {}
    seen: set[str] = set()
    to_visit = [(key, False) for key in keys]
    while to_visit:
        key, is_done = to_visit.pop()
        if is_done:
            ordered[key] = None
        elif key in flags and key not in seen:
            seen.add(key)
            to_visit.append((key, True))
            to_visit.extend((prerequisite.flag, False) for prerequisite in flags[key].prerequisites)
    return list(ordered)


def _with_relatives(keys: AbstractSet[str], *needs: Mapping[str, frozenset[str]]) -> set[str]:
    """These flags, and all that are parents or children of one of them, at any distance, before or after a change: what
    a parent is sent as depends on whether it is one."""
    relatives: dict[str, set[str]] = {}
    for needed_by in needs:
        for key, parents in needed_by.items():
            relatives.setdefault(key, set()).update(parents)
            for parent in parents:
                relatives.setdefault(parent, set()).add(key)
    found = set(keys)
    to_follow = list(keys)
    while to_follow:
        for key in relatives.get(to_follow.pop(), ()):
            if key not in found:
                found.add(key)
                to_follow.append(key)
    return found
