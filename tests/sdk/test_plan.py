"""What a client does next: table and story tests of the plan, which has no clock of its own."""

import random

import pytest

from fader.config import Timing
from fader.plan import Outcome, Plan, Result

TIMING = Timing()
FAILED = Outcome(Result.FAILED)
BLOCKED = Outcome(Result.BLOCKED)
POLLED = Outcome(Result.POLLED)
POLL_FAILED = Outcome(Result.POLL_FAILED)


@pytest.fixture
def plan() -> Plan:
    return Plan(TIMING, streaming=True, poll_interval=10.0, rng=random.Random(7))


def fail_often(plan: Plan) -> None:
    for _ in range(12):
        plan.pause_after(FAILED, 0.0)


def test_streaming_is_tried_again_however_often_it_fails(plan: Plan) -> None:
    fail_often(plan)
    assert plan.streams(0.0)


def test_streams_that_never_get_through_give_way_to_polling_for_a_while(plan: Plan) -> None:
    for _ in range(3):
        assert plan.streams(0.0)
        plan.pause_after(BLOCKED, 0.0)
    assert not plan.streams(0.0)
    assert not plan.streams(TIMING.stream_again - 1)
    assert plan.streams(TIMING.stream_again)


def test_one_stream_that_gets_through_forgives_the_blocked_ones(plan: Plan) -> None:
    for _ in range(10):
        plan.pause_after(BLOCKED, 0.0)
        plan.pause_after(BLOCKED, 0.0)
        plan.got_through()
    assert plan.streams(0.0)


def test_a_server_without_streams_is_polled_at_once(plan: Plan) -> None:
    plan.pause_after(Outcome(Result.UNFIT), 0.0)
    assert not plan.streams(1.0)


def test_when_polling_fails_as_well_both_are_tried_in_turn(plan: Plan) -> None:
    for _ in range(3):
        plan.pause_after(BLOCKED, 0.0)
    plan.pause_after(POLL_FAILED, 1.0)
    assert plan.streams(1.0)
    plan.pause_after(BLOCKED, 2.0)
    assert not plan.streams(3.0)


def test_after_an_outage_of_the_whole_server_streaming_comes_back_at_once(plan: Plan) -> None:
    for _ in range(3):
        plan.pause_after(BLOCKED, 0.0)
    plan.pause_after(POLL_FAILED, 1.0)
    plan.pause_after(BLOCKED, 2.0)
    plan.pause_after(POLLED, 3.0)
    assert plan.streams(3.0)


def test_without_streaming_there_is_only_polling() -> None:
    plan = Plan(TIMING, streaming=False, poll_interval=10.0)
    for outcome in (POLLED, POLL_FAILED, POLLED, Outcome(Result.REFUSED)):
        plan.pause_after(outcome, 0.0)
        assert not plan.streams(1e9)


def test_polls_are_an_interval_apart_give_or_take_a_tenth(plan: Plan) -> None:
    pauses = [plan.pause_after(POLLED, 0.0) for _ in range(100)]
    assert 9.0 <= min(pauses) < max(pauses) <= 11.0


def test_two_good_polls_forget_the_failures(plan: Plan) -> None:
    fail_often(plan)
    plan.pause_after(POLLED, 0.0)
    plan.pause_after(POLLED, 0.0)
    assert plan.pause_after(POLL_FAILED, 0.0) <= 1.0


def test_a_healthy_stream_forgets_the_failures_and_a_short_one_does_not() -> None:
    def longest(lived: float) -> float:
        pauses = []
        for seed in range(50):
            plan = Plan(TIMING, streaming=True, poll_interval=10.0, rng=random.Random(seed))
            fail_often(plan)
            pauses.append(plan.pause_after(FAILED._replace(lived=lived), 0.0))
        return max(pauses)

    assert longest(lived=60.0) <= 1.0
    assert longest(lived=59.0) > 20.0


def test_a_refusal_makes_it_slow_but_never_ends_it(plan: Plan) -> None:
    for _ in range(20):
        assert 150.0 <= plan.pause_after(Outcome(Result.REFUSED), 0.0) <= 300.0
        assert plan.streams(0.0)


def test_the_server_may_ask_for_longer_pauses_but_not_for_shorter_ones(plan: Plan) -> None:
    pauses = [plan.pause_after(FAILED._replace(wait=120.0), 0.0) for _ in range(100)]
    assert 120.0 <= min(pauses) < 130.0
    assert 230.0 < max(pauses) <= 240.0
    fail_often(plan)
    assert max(plan.pause_after(FAILED._replace(wait=1.0), 0.0) for _ in range(100)) > 20.0
    assert plan.pause_after(Outcome(Result.REFUSED, wait=600.0), 0.0) == 600.0
    assert plan.pause_after(Outcome(Result.REFUSED, wait=0.0), 0.0) >= 150.0


def test_a_goodbye_moves_clients_on_spread_over_the_time_it_names() -> None:
    pauses = [
        Plan(TIMING, streaming=True, poll_interval=10.0, rng=random.Random(seed)).pause_after(
            Outcome(Result.ENDED, wait=2.0, lived=30.0), 0.0
        )
        for seed in range(200)
    ]
    assert 2.0 <= min(pauses) < 2.3
    assert 3.7 < max(pauses) <= 4.0


def test_a_server_that_says_goodbye_at_once_is_not_asked_in_a_tight_loop(plan: Plan) -> None:
    pauses = [plan.pause_after(Outcome(Result.ENDED, wait=0.0, lived=0.01), 0.0) for _ in range(10)]
    assert min(pauses) >= 0.1
    assert max(pauses) > 1.0
