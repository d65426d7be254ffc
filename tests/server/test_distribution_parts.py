"""The parts of distribution that need no server: versions, merged changes, and those that are remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.model import Change, Flag, Segment
from fader_server.distribution.events import Version, change_event, goodbye_event, merged
from fader_server.distribution.recent import Recent, RecentChanges


@pytest.mark.parametrize(
    "text", ["", "-1", "a-", "a-1-2", "a 1", "A-1", "a--1", "a-1\n", "a-" + "9" * 19, "x" * 65 + "-1"]
)
def test_what_is_no_version_is_none(text: str) -> None:
    assert Version.parse(text) is None


def test_a_version_reads_back() -> None:
    version = Version("77da93b1262aaede", 4182)
    assert Version.parse(str(version)) == version


def change(revision: int, **named: Flag | None) -> Change:
    return Change(
        epoch="e", since=revision - 1, revision=revision, flags=named, segments={f"s{revision}": Segment(key="s")}
    )


def test_merged_changes_keep_the_last_word_on_each_thing() -> None:
    on, off = Flag(key="a", enabled=True), Flag(key="a")
    found = merged([change(5, a=on, b=on), change(6, a=off), change(7, b=None)])
    assert (found.since, found.revision) == (4, 7)
    assert found.flags == {"a": off, "b": None}
    assert set(found.segments) == {"s5", "s6", "s7"}


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match="nothing"):
        merged([])


def test_events_are_one_line_of_data_each() -> None:
    event = change_event(change(5, a=Flag(key="a\nb")))
    assert event.startswith(b"id: e-5\nevent: change\ndata: {")
    assert event.count(b"\n") == 4
    assert event.endswith(b"}\n\n")
    assert goodbye_event(1500) == b"event: goodbye\nretry: 1500\ndata: {}\n\n"


def recent_change(revision: int, size: int = 10) -> Recent:
    return Recent(change(revision), b"x" * size)


def numbered(since: int, until: int) -> list[Recent]:
    return [recent_change(revision) for revision in range(since + 1, until + 1)]


def test_recent_changes_lead_from_each_revision_that_they_remember() -> None:
    recent = RecentChanges(revision=4)
    for one in numbered(4, 8):
        recent.append(one)
    assert (recent.since, recent.revision) == (4, 8)
    assert [one.change.revision for one in recent.after(6) or ()] == [7, 8]
    assert recent.after(8) == []
    assert recent.after(3) is None
    assert recent.after(9) is None


def test_recent_changes_grow_backwards_as_far_as_it_joins_on() -> None:
    recent = RecentChanges(revision=8)
    recent.extend_back(numbered(3, 10))
    assert (recent.since, recent.revision) == (3, 8)
    recent.extend_back(numbered(0, 2))  # a gap
    assert recent.since == 3
    assert [one.change.since for one in recent.after(3) or ()] == [3, 4, 5, 6, 7]


@given(st.lists(st.integers(0, 60), max_size=60), st.integers(1, 20), st.integers(1, 200))
def test_recent_changes_stay_within_their_bounds_and_have_no_gap(sizes: list[int], most: int, most_bytes: int) -> None:
    recent = RecentChanges(0, most, most_bytes)
    for revision, size in enumerate(sizes, 1):
        recent.append(recent_change(revision, size))
        way = recent.after(recent.since)
        assert way is not None
        assert [one.change.revision for one in way] == list(range(recent.since + 1, revision + 1))
        assert len(way) <= most
        assert sum(sizes[one.change.revision - 1] for one in way) <= most_bytes
        # No more is forgotten than has to be.
        if recent.since:
            assert len(way) == most or sum(sizes[recent.since - 1 : revision]) > most_bytes
