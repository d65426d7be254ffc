"""Where ids fall: the same people as in Unleash at whole percents, evenly, and for ever."""

import json
import subprocess
import sys

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader.bucketing import BUCKETS, SPLIT_SEED, bucket, split_place, thousandths

SALT = "new-checkout"
IDS = [f"user-{number}" for number in range(100_000)]


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("6368", 0),
        ("49491", 999),
        ("116243", 1_000),
        ("192267", 49_999),
        ("238333", 50_000),
        ("62839", 98_999),
        ("23455", 99_000),
        ("133468", 99_999),
    ],
)
def test_ids_at_the_edges_stay_in_their_buckets(identity: str, expected: int) -> None:
    assert bucket("s", identity) == expected


def test_an_id_beyond_ascii_is_hashed_as_utf8() -> None:
    hashed = mmh3.hash("g:ø".encode(), 0, signed=False)
    assert hashed % 100 + 1 == 36  # as all of Unleash's SDKs have it, but for the one of Node
    assert bucket("g", "ø") // 1000 == 35


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), st.integers(0, 100))
def test_at_whole_percents_those_are_in_who_are_in_with_unleash(salt: str, identity: str, percent: int) -> None:
    normalised = mmh3.hash(f"{salt}:{identity}".encode(), 0, signed=False) % 100 + 1

    assert (bucket(salt, identity) < thousandths(percent)) is (normalised <= percent)


@given(st.text(st.characters(codec="utf-8")), st.floats(0, 100), st.floats(0, 100))
def test_raising_a_percentage_keeps_everyone_who_was_in(identity: str, one: float, other: float) -> None:
    lower, higher = sorted((thousandths(one), thousandths(other)))

    assert bucket(SALT, identity) >= lower or bucket(SALT, identity) < higher


def test_every_step_of_a_percentage_is_an_integer() -> None:
    assert [thousandths(float(f"{step // 1000}.{step % 1000:03}")) for step in range(BUCKETS + 1)] == [
        *range(BUCKETS + 1)
    ]


def chi_square(places: list[int], of: int) -> float:
    counts = [0] * of
    for place in places:
        counts[place] += 1
    expected = len(places) / of
    return sum((count - expected) ** 2 for count in counts) / expected


# Chi-square of 999 degrees of freedom lies between 864 and 1,145 in 998 of 1,000 samples. The ids are always the same,
# so a hash that passes once passes for ever.
LEAST, MOST = 864, 1_145


def test_ids_fall_evenly_into_tenths_of_a_percent_and_into_the_thousandths_within_a_percent() -> None:
    buckets = [bucket(SALT, identity) for identity in IDS]

    assert LEAST < chi_square([each // 100 for each in buckets], 1_000) < MOST
    assert LEAST < chi_square([each % 1_000 for each in buckets], 1_000) < MOST


def test_ids_fall_evenly_into_the_places_of_a_split_also_among_those_whom_a_rollout_lets_in() -> None:
    everybody = [split_place(SALT, identity, 1_000) - 1 for identity in IDS]
    let_in = [split_place(SALT, identity, 100) - 1 for identity in IDS if bucket(SALT, identity) < thousandths(10)]

    assert LEAST < chi_square(everybody, 1_000) < MOST
    assert 61 < chi_square(let_in, 100) < 149  # 99 degrees of freedom


def test_two_flags_let_in_different_people() -> None:
    first = {identity for identity in IDS if bucket("first", identity) < thousandths(10)}
    second = {identity for identity in IDS if bucket("second", identity) < thousandths(10)}

    assert len(first & second) == pytest.approx(1_000, rel=0.1)


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 10_000))
def test_a_place_in_a_split_is_unleashs(identity: str, weights: int) -> None:
    hashed = mmh3.hash(f"{SALT}:{identity}".encode(), SPLIT_SEED, signed=False)

    assert SPLIT_SEED == 86_028_157
    assert split_place(SALT, identity, weights) == hashed % weights + 1


HALF_A_PAIR = json.loads(r'"\ud800"')
"""A text that Python holds, and that has no UTF-8. Any client of a web application can send it."""


@pytest.mark.parametrize("asked", ["bucket(salt, half)", "split_place(salt, half, 2)", "bucket(half, salt)"])
def test_a_text_without_utf8_is_an_error_and_does_not_end_the_process(asked: str) -> None:
    # In a process of its own, because what it is about is that the process lives.
    program = f"""
from fader.bucketing import bucket, split_place
salt, half = "new-checkout", {HALF_A_PAIR!r}
try:
    {asked}
except UnicodeEncodeError:
    print("refused")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (0, "refused\n")
