"""Our segments as Unleash's, and who is in them and who is not, as far as Unleash's SDKs can tell.

A segment of ours has members by key *or* by its constraints; one of Unleash's is a list of constraints that all must
hold. So the listed keys travel as a segment where both are there, and the constraints are asked beside it.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from fader import model
from fader_server.unleash.clauses import EVERYBODY, NOBODY, Clauses, SegmentTest, TooManyError, both, either
from fader_server.unleash.notes import Note, Notebook
from fader_server.unleash.portable import clauses_of, clauses_of_opposite
from fader_server.unleash.wire import LARGEST_SEGMENT_ID, WireConstraint, WireSegment

MOST_KEYS: Final = 10_000
"""Listed keys that are sent. Every SDK fetches them again with every change, so a million would be 40 MB each time."""

KeysOfLists = Mapping[str, Collection[str]]
"""The keys of long lists, by the lists' names, as far as they are known."""


class Expressed(Struct, frozen=True):
    """Whom something lets in, or fewer, and then why they are fewer."""

    clauses: Clauses
    causes: tuple[Note, ...] = ()


class PortableSegment(Struct, frozen=True):
    """A segment, its members, and what is sent of it, if anything."""

    segment: model.Segment
    members: Expressed
    sent: WireSegment | None = None


def portable_segment(segment: model.Segment, keys_of_lists: KeysOfLists) -> PortableSegment:
    """A segment for Unleash's SDKs.

    Args:
        segment: Ours.
        keys_of_lists: Where the keys of a long list are; nobody is on others.
    """
    causes = Notebook()
    listed = _listed(segment, keys_of_lists, causes)
    described = _described(segment, causes)
    travelling = listed if listed != NOBODY else described
    sent: WireSegment | None = None
    if 0 < segment.id <= LARGEST_SEGMENT_ID and len(travelling) == 1:
        constraints = tuple(test for test in travelling[0] if isinstance(test, WireConstraint))
        sent = WireSegment(id=segment.id, name=segment.key, constraints=constraints)
        named: Clauses = ((SegmentTest(segment.id, constraints),),)
        listed, described = (named, described) if listed != NOBODY else (listed, named)
    return PortableSegment(segment, Expressed(either((listed, described)), causes.notes), sent)


def others_than(segment: model.Segment, keys_of_lists: KeysOfLists) -> Expressed:
    """Those who are not in a segment."""
    causes = Notebook()
    others = EVERYBODY
    if segment.members is not None and segment.members.list not in keys_of_lists:
        _note_long_list(segment, causes)
        others = NOBODY
    elif keys := _keys(segment, keys_of_lists):
        others = NOBODY if _are_too_many(keys, causes) else clauses_of_opposite(_key_constraint(keys), causes)
    if segment.constraints:
        try:
            opposites = [
                clauses_of_opposite(constraint, causes.at("constraints").at(position))
                for position, constraint in enumerate(segment.constraints)
            ]
            others = both(others, either(opposites))
        except TooManyError:
            causes.write("cannot be sent so many alternatives")
            others = NOBODY
    return Expressed(others, causes.notes)


def _listed(segment: model.Segment, keys_of_lists: KeysOfLists, causes: Notebook) -> Clauses:
    if segment.members is not None and segment.members.list not in keys_of_lists:
        _note_long_list(segment, causes)
    keys = _keys(segment, keys_of_lists)
    if not keys or _are_too_many(keys, causes):
        return NOBODY
    return clauses_of(_key_constraint(keys), causes)


def _described(segment: model.Segment, causes: Notebook) -> Clauses:
    described = EVERYBODY if segment.constraints else NOBODY
    try:
        for position, constraint in enumerate(segment.constraints):
            described = both(described, clauses_of(constraint, causes.at("constraints").at(position)))
    except TooManyError:
        causes.write("cannot be sent so many alternatives")
        return NOBODY
    return described


def _keys(segment: model.Segment, keys_of_lists: KeysOfLists) -> tuple[str, ...]:
    """All listed keys that are known, without the empty one, which is none."""
    long = keys_of_lists.get(segment.members.list, ()) if segment.members is not None else ()
    return tuple(dict.fromkeys(key for key in (*segment.targeting_keys, *long) if key))


def _key_constraint(keys: tuple[str, ...]) -> model.Constraint:
    return model.Constraint(attribute=model.TARGETING_KEY, operator="in", values=keys)


def _are_too_many(keys: Collection[str], causes: Notebook) -> bool:
    if len(keys) > MOST_KEYS:
        causes.at("targeting_keys").write(f"are not sent more than {MOST_KEYS:,} keys, and there are {len(keys):,}")
    return len(keys) > MOST_KEYS


def _note_long_list(segment: model.Segment, causes: Notebook) -> None:
    if segment.members is not None and segment.members.count:
        causes.at("members").write(f"are not sent the {segment.members.count:,} keys of a long list")
