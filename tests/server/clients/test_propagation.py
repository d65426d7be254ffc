"""Times in buckets: small enough to be sent around, exact enough to be believed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader_server.clients.propagation import Propagation, Stopwatch, together

COMMITTED = 1_000.0
MILLISECONDS = st.floats(min_value=0.1, max_value=3_600_000)


def timed(milliseconds: list[float]) -> Propagation:
    stopwatch = Stopwatch(COMMITTED)
    for one in milliseconds:
        stopwatch.stop(COMMITTED + one / 1000)
    return stopwatch.result


@given(st.lists(MILLISECONDS, min_size=1), st.floats(0.0, 1.0))
def test_quantiles_are_off_by_five_per_cent_at_most(milliseconds: list[float], share: float) -> None:
    exact = sorted(milliseconds)[max(1, math.ceil(share * len(milliseconds))) - 1]
    assert timed(milliseconds).quantile(share) == pytest.approx(exact, rel=0.05)


@given(st.lists(MILLISECONDS))
def test_the_longest_is_exact_and_nobody_is_forgotten(milliseconds: list[float]) -> None:
    propagation = timed(milliseconds)
    assert propagation.clients == len(milliseconds)
    assert propagation.max_ms == pytest.approx(max(milliseconds, default=0.0), rel=1e-6)
    if milliseconds:
        assert propagation.quantile(1.0) <= propagation.max_ms


@given(st.lists(st.lists(MILLISECONDS)))
def test_what_several_nodes_have_seen_adds_up(parts: list[list[float]]) -> None:
    assert together(timed(part) for part in parts) == timed([one for part in parts for one in part])


def test_what_comes_from_the_future_took_no_time() -> None:
    stopwatch = Stopwatch(COMMITTED)
    assert stopwatch.stop(COMMITTED - 5) == 0
    assert stopwatch.result == Propagation(buckets={0: 1})
    assert stopwatch.result.quantile(0.5) == 0


def test_a_result_stays_what_it_was() -> None:
    stopwatch = Stopwatch(COMMITTED)
    stopwatch.stop(COMMITTED + 1)
    before = stopwatch.result
    stopwatch.stop(COMMITTED + 2)
    assert before.clients == 1


def test_of_nobody_there_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="nothing was counted"):
        Propagation().quantile(0.5)
