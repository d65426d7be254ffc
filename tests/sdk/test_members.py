"""Long lists as hashes: who is on them, what changes make of them, and what is refused."""

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.members import (
    Members,
    MembersError,
    Reader,
    combined,
    digest_of,
    followed,
    hash_of,
    missing_lists,
    packed,
    unpacked,
)
from fader.model import MemberList, MembersDelta, Segment
from long_lists import described, members_of, segment_of

hashes = st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)
sets = st.sets(hashes, max_size=200)


def listed(hashed: set[int], version: int = 1) -> Members:
    ordered = sorted(hashed)
    return Members(
        MemberList(list="a1", version=version, count=len(ordered), digest=digest_of(ordered)), array("Q", ordered)
    )


def read(wanted: MemberList, content: bytes) -> Members:
    reader = Reader(wanted)
    reader.feed(content)
    return reader.finish()


def delta(since: int, added: set[int], removed: set[int]) -> MembersDelta:
    return MembersDelta(
        since=since,
        version=since + 1,
        added=packed(array("Q", sorted(added))),
        removed=packed(array("Q", sorted(removed))),
    )


def test_the_hash_is_the_first_half_of_murmur3_x64_128_with_seed_0() -> None:
    # "The quick brown fox …" is in the algorithm's own examples: e34bbc7bbc071b6c 7a433ca9c49a9347.
    assert hash_of(b"The quick brown fox jumps over the lazy dog") == 0xE34BBC7BBC071B6C
    assert hash_of(b"") == 0


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1_000, 70_000])
def test_exactly_those_who_are_listed_are_members(count: int) -> None:
    contains = members_of(f"user-{number}" for number in range(count)).contains
    assert all(contains(f"user-{number}") for number in range(0, count, max(count // 500, 1)))
    assert not any(contains(f"user-{number}") for number in range(count, count + 2_000))
    assert not contains("")


def test_a_key_without_utf8_is_nobody() -> None:
    assert not members_of(["ada", "alan"]).contains("\ud800")


@given(sets, sets, sets)
def test_a_change_makes_of_a_list_what_it_would_make_of_a_set(
    held: set[int], added: set[int], removed: set[int]
) -> None:
    removed -= added
    wanted = (held | added) - removed
    before = listed(held)
    after = before.changed(listed(wanted, 2).described, added, removed)
    assert list(after.hashes) == sorted(wanted)
    assert list(before.hashes) == sorted(held)


@given(st.lists(sets, min_size=1, max_size=6))
def test_several_changes_are_as_one(states: list[set[int]]) -> None:
    deltas = [
        delta(number, after - before, before - after) for number, (before, after) in enumerate(pairwise(states), 1)
    ]
    added, removed = combined(deltas)
    assert (states[0] | added) - removed == states[-1]
    assert added.isdisjoint(states[0])
    assert removed <= states[0]


def test_a_change_of_another_list_is_noticed() -> None:
    with pytest.raises(MembersError):
        listed({1, 2}).changed(listed({1, 2, 4}, 2).described, {3}, set())


@given(sets, st.integers(1, 50))
def test_a_list_is_read_back_in_whatever_parts_it_comes(held: set[int], part: int) -> None:
    wanted = listed(held)
    content, reader = packed(wanted.hashes), Reader(wanted.described)
    for start in range(0, len(content), part * 8):
        reader.feed(content[start : start + part * 8])
    assert reader.finish().hashes == wanted.hashes


@pytest.mark.parametrize(
    "content",
    [
        packed(array("Q", [2, 1, 3])),
        packed(array("Q", [1, 2, 2])),
        packed(array("Q", [1, 2])),
        packed(array("Q", [1, 2, 4])),
        packed(array("Q", [1, 2, 3]))[:-1],
        b"",
    ],
    ids=["out of order", "twice", "too few", "another one", "cut short", "nothing"],
)
def test_what_is_not_the_list_is_refused(content: bytes) -> None:
    with pytest.raises(MembersError):
        read(listed({1, 2, 3}).described, content)


def test_hashes_are_kept_with_the_lowest_byte_first() -> None:
    assert packed(array("Q", [1])) == b"\x01" + bytes(7)
    assert unpacked(bytes(7) + b"\x01") == array("Q", [1 << 56])


def test_lists_follow_small_changes_and_stay_as_they_were_after_large_ones() -> None:
    held = {"a1": members_of(["ada"]), "b2": members_of(["bob"], name="b2"), "c3": members_of(["eve"], name="c3")}
    segments = {
        "one": segment_of(["ada", "alan"], 2),
        "two": segment_of(["bob", "bea"], 9, "b2"),
        "three": Segment(key="three"),
        "four": segment_of(["new"], 1, "d4"),
    }
    news = {"a1": (delta(1, {hash_of(b"alan")}, set()),), "b2": (delta(8, {hash_of(b"bea")}, set()),)}
    after = followed(held, segments, news)
    assert after["a1"].contains("alan")
    assert after["b2"] is held["b2"]
    assert set(after) == {"a1", "b2"}, "nobody asks for the third, and the fourth has not come"
    assert set(missing_lists(segments, after)) == {"two", "four"}


def test_a_version_that_was_given_out_twice_is_noticed() -> None:
    """A restored database goes on from where it was, with other changes."""
    held = {"a1": members_of(["ada"], 6)}
    segments = {"one": segment_of(["grace"], 6)}
    assert missing_lists(segments, followed(held, segments, {})) == {"one": described(["grace"], 6)}
    segments = {"one": segment_of(["grace", "alan"], 7)}
    after = followed(held, segments, {"a1": (delta(6, {hash_of(b"alan")}, set()),)})
    assert after["a1"] is held["a1"]
    assert set(missing_lists(segments, after)) == {"one"}
