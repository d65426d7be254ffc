"""Users who are not shared out as planned are noticed, and those who are, are not."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fader_server.ramps.sample_ratio import is_mismatch, log_e


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(0, 12), st.sampled_from([0.01, 0.1, 0.5, 0.9]))
def test_the_bet_is_fair_while_counts_are_small(users: int, share: float) -> None:
    expected = sum(
        math.comb(users, hits)
        * share**hits
        * (1 - share) ** (users - hits)
        * math.exp(log_e(hits, users - hits, share))
        for hits in range(users + 1)
    )
    assert expected == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(("exposed", "others", "share"), [(300, 9_700, 0.01), (650, 350, 0.5), (0, 2_000, 0.01)])
def test_what_no_draw_would_do_is_noticed(exposed: int, others: int, share: float) -> None:
    assert is_mismatch(exposed, others, share)


def test_a_fair_draw_that_is_looked_at_all_the_time_is_trusted() -> None:
    drawn = random.Random(7)
    suspected = 0
    for _ in range(100):
        exposed = 0
        for users in range(1, 2_000):
            exposed += drawn.random() < 0.1
            if is_mismatch(exposed, users - exposed, 0.1):
                suspected += 1
                break
    assert suspected <= 1


def test_counts_that_are_only_estimates_are_given_room() -> None:
    assert not is_mismatch(512_000, 488_000, 0.5)  # two sketches may differ by this much
    assert is_mismatch(600_000, 400_000, 0.5)


def test_evidence_grows_with_users() -> None:
    found = [log_e(60 * times, 40 * times, 0.5) for times in (1, 2, 4, 8)]
    assert all(before < after for before, after in pairwise(found))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_all_users_are_of_one_kind_there_is_nothing_to_compare(share: float) -> None:
    assert not is_mismatch(10, 10_000, share)
