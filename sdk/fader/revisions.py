"""Which snapshot or change to accept: the rules that keep a client from going back or from missing anything.

Pure functions of what is held and what has come.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import TypeVar

from msgspec.structs import replace

from fader.model import Change, Flag, Segment, Snapshot

T = TypeVar("T")


class Verdict(Enum):
    """What to do with what has come."""

    APPLY = "apply"
    IGNORE = "ignore"
    """It is not newer: another server is behind, or says it twice."""
    ASK_AFRESH = "ask afresh"
    """Something between is missing, or it is of another epoch: only a whole snapshot helps."""


def judge_snapshot(held: Snapshot | None, snapshot: Snapshot) -> Verdict:
    """A snapshot of another epoch is followed whatever its revision: the database was restored."""
    if held is None or held.epoch != snapshot.epoch or held.revision < snapshot.revision:
        return Verdict.APPLY
    return Verdict.IGNORE


def judge_change(held: Snapshot | None, change: Change) -> Verdict:
    """A change is applied where it joins on without a gap."""
    if held is None or held.epoch != change.epoch:
        return Verdict.ASK_AFRESH
    if change.revision <= held.revision:
        return Verdict.IGNORE
    return Verdict.APPLY if change.since <= held.revision else Verdict.ASK_AFRESH


def apply_change(held: Snapshot, change: Change) -> Snapshot:
    """The snapshot after a change, which ``judge_change`` has found to join on. What did not change stays the same
    objects."""
    flags, segments = dict(held.flags), dict(held.segments)
    _merge(flags, change.flags)
    _merge(segments, change.segments)
    guards = held.guards
    if change.guards:
        guards = {flag: some for flag, some in (held.guards | change.guards).items() if some}
    return replace(held, revision=change.revision, flags=flags, segments=segments, guards=guards)


def _merge(held: dict[str, T], news: Mapping[str, T | None]) -> None:
    for key, new in news.items():
        if new is None:
            held.pop(key, None)
        else:
            held[key] = new


def version_of(snapshot: Snapshot) -> str:
    """Epoch and revision as they stand in ``ETag`` and ``Last-Event-ID``."""
    return f"{snapshot.epoch}-{snapshot.revision}"


def affected_flags(before: Snapshot | None, after: Snapshot) -> frozenset[str]:
    """The keys of all flags whose evaluation may differ between two snapshots.

    These are the flags that differ themselves, those with a rule that asks for a segment that differs, and those
    that have one of these as a prerequisite, at any distance.
    """
    flags_before: dict[str, Flag] = before.flags if before else {}
    segments_before: dict[str, Segment] = before.segments if before else {}
    affected = _different(flags_before, after.flags)
    affected |= _asking_for(_different(segments_before, after.segments), after.flags)
    return _with_dependents(affected, after.flags)


def flags_asking_for(segments: AbstractSet[str], flags: Mapping[str, Flag]) -> frozenset[str]:
    """The keys of all flags whose evaluation may differ because segments, named by their keys, do."""
    return _with_dependents(_asking_for(segments, flags), flags)


def _asking_for(segments: AbstractSet[str], flags: Mapping[str, Flag]) -> set[str]:
    if not segments:
        return set()
    return {key for key, flag in flags.items() if any(not segments.isdisjoint(rule.segments) for rule in flag.rules)}


def _with_dependents(affected: set[str], flags: Mapping[str, Flag]) -> frozenset[str]:
    """These flags, and those that have one of them as a prerequisite, at any distance."""
    dependents: dict[str, list[str]] = {}
    for key, flag in flags.items():
        for prerequisite in flag.prerequisites:
            dependents.setdefault(prerequisite.flag, []).append(key)
    to_follow = list(affected)
    while to_follow:
        for key in dependents.get(to_follow.pop(), ()):
            if key not in affected:
                affected.add(key)
                to_follow.append(key)
    return frozenset(affected)


def _different(before: dict[str, Flag] | dict[str, Segment], after: dict[str, Flag] | dict[str, Segment]) -> set[str]:
    # A change keeps the objects of everything else, so identity answers for nearly all of them.
    return {
        key
        for key in before.keys() | after.keys()
        if before.get(key) is not after.get(key) and before.get(key) != after.get(key)
    }
