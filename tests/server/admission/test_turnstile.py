"""Token buckets and turnstiles, which know no clock: how much passes, and when those who must wait come back."""

import heapq
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from fader.backoff import spread
from fader_server.api.token_bucket import TokenBucket
from fader_server.api.turnstile import Turnstile

RATES = st.floats(0.1, 1_000)
CAPACITIES = st.floats(1, 1_000)
STEPS = st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 2_000)), max_size=40)


@given(RATES, CAPACITIES, STEPS)
def test_in_no_window_more_passes_than_rate_and_capacity_allow(
    rate: float, capacity: float, steps: list[tuple[float, float]]
) -> None:
    bucket = TokenBucket(rate, capacity, now=0.0)
    now, taken = 0.0, []
    for pause, tokens in steps:
        now += pause
        if bucket.take(tokens, now):
            taken.append((now, tokens))
    for first in range(len(taken)):
        # The last one may leave the bucket owing; what it took before that is bounded.
        for last in range(first + 1, len(taken)):
            window = taken[last][0] - taken[first][0]
            before_last = sum(tokens for _, tokens in taken[first:last])
            assert before_last <= capacity + rate * window + len(taken) * 1e-5


@given(RATES, CAPACITIES, STEPS, st.floats(0.001, 2_000))
def test_who_waits_as_long_as_told_is_let_through_and_not_much_earlier(
    rate: float, capacity: float, steps: list[tuple[float, float]], tokens: float
) -> None:
    bucket, twin = TokenBucket(rate, capacity, now=0.0), TokenBucket(rate, capacity, now=0.0)
    now = 0.0
    for pause, some in steps:
        now += pause
        assert bucket.take(some, now) is twin.take(some, now)
    wait = bucket.wait(tokens, now)
    assert wait >= 0.0
    if wait * rate > 0.001:
        assert not twin.take(tokens, now + wait * 0.5)
    assert bucket.take(tokens, now + wait)


def test_a_demand_larger_than_the_bucket_is_met_and_paid_for() -> None:
    bucket = TokenBucket(rate=10.0, capacity=5.0, now=0.0)
    assert bucket.take(25.0, now=0.0)
    assert bucket.level(now=0.0) == -20.0
    assert not bucket.take(1.0, now=2.0)
    assert bucket.wait(1.0, now=2.0) == 0.1
    assert bucket.take(1.0, now=2.1)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1.0, capacity=1.0, now=100.0)
    assert bucket.take(1.0, now=100.0)
    assert not bucket.take(1.0, now=0.0)
    assert not bucket.take(1.0, now=100.5)
    assert bucket.take(1.0, now=101.0)


def test_those_who_are_refused_are_each_told_another_time() -> None:
    turnstile = Turnstile(rate=10.0, capacity=1.0, longest=600.0, now=0.0)
    assert turnstile.enter(1.0, now=0.0) == 0.0
    waits = [turnstile.enter(1.0, now=0.0) for _ in range(100)]
    assert waits == sorted(set(waits))
    assert waits[0] == 0.1


@given(st.integers(1, 500), st.floats(0.5, 50), st.floats(1, 100))
def test_nobody_is_sent_away_for_longer_than_the_longest(crowd: int, rate: float, longest: float) -> None:
    turnstile = Turnstile(rate, capacity=1.0, longest=longest, now=0.0)
    waits = [turnstile.enter(1.0, now=0.0) for _ in range(crowd)]
    assert all(0.0 <= wait <= longest for wait in waits)


def test_a_storm_is_over_in_little_more_than_the_time_that_the_rate_allows() -> None:
    """10,000 clients that add jitter as SDKs do: simulated, with what the server tells on the wire in whole seconds."""
    clients, rate = 10_000, 400.0
    rng = random.Random(4)
    turnstile = Turnstile(rate, capacity=rate, longest=300.0, now=0.0)
    coming = [(rng.uniform(0.0, 1.0), client) for client in range(clients)]
    heapq.heapify(coming)
    asked: dict[int, int] = {}
    refusals, now = 0, 0.0
    while coming:
        now, client = heapq.heappop(coming)
        asked[int(now)] = asked.get(int(now), 0) + 1
        wait = turnstile.enter(1.0, now)
        if wait:
            refusals += 1
            heapq.heappush(coming, (now + spread(math.ceil(wait), rng), client))
    assert now < 1.6 * clients / rate
    assert refusals < 1.6 * clients
    assert max(count for second, count in asked.items() if second > 2) < 2.5 * rate
