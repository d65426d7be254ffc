"""Ramps as they go on, wait, stop and come down: look by look, with a clock that is a number."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fader_server.ramps import moves as ramp
from fader_server.ramps.evidence import Arm
from fader_server.ramps.moves import Move
from fader_server.ramps.plan import GuardPlan, Plan, PrometheusGuard, Step
from fader_server.ramps.progress import OVER, Counted, Progress, is_learning, slower_than_ms, step_of
from fader_server.ramps.verdicts import finding

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
CHECKOUT = GuardPlan(id="checkout", metric="checkout")
STEPS = tuple(Step(percentage=percentage, hold_seconds=600) for percentage in (1.0, 10.0, 50.0, 100.0))
PLAN = Plan(steps=STEPS, guards=(CHECKOUT,))
UNGUARDED = Plan(steps=STEPS)

FINE = Counted(treatment=Arm(exposed=500, failed=2), control=Arm(exposed=49_500, failed=250))
HARMFUL = Counted(treatment=Arm(exposed=60, failed=30), control=Arm(exposed=5_940, failed=30))


def fine_at(percentage: float) -> Counted:
    exposed = int(500 * percentage)
    return Counted(
        treatment=Arm(exposed=exposed, failed=exposed // 200),
        control=Arm(exposed=50_000 - exposed, failed=(50_000 - exposed) // 200),
    )


class Course:
    """A ramp and the moves that it has made."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = BEGAN
        self.moves = [ramp.begin(plan, BEGAN)]

    @property
    def progress(self) -> Progress:
        return self.moves[-1].progress

    @property
    def percentages(self) -> list[float]:
        return [move.percentage for move in self.moves if move.percentage is not None]

    @property
    def told(self) -> list[str]:
        return [text for move in self.moves for text in move.tell]

    def look(
        self,
        counted: Mapping[str, Counted] | None = None,
        asked: Mapping[str, float | None] | None = None,
        after: float = 5.0,
    ) -> Move:
        self.now += timedelta(seconds=after)
        self.moves.append(ramp.look(self.plan, self.progress, counted or {}, asked or {}, self.now))
        return self.moves[-1]

    def watch(self, seconds: float, counted: Counted | None = None) -> Progress:
        """Look every five seconds, for so long."""
        for _ in range(round(seconds / 5)):
            step = step_of(self.plan, self.progress)
            seen = fine_at(step.percentage) if counted is None else counted
            self.look({guard.id: seen for guard in self.plan.guards})
        return self.progress


def test_a_guard_of_latency_that_is_not_told_what_is_slow_learns_it_in_the_first_step() -> None:
    latency = GuardPlan(id="slow", metric="checkout", kind="latency")
    course = Course(Plan(steps=STEPS, guards=(latency,)))
    course.watch(300, replace(FINE, usual_ms=120.0, treated_ms=90.0))
    state = course.progress.guards["slow"]
    assert (state.verdict, state.usual_ms, state.treated_ms) == ("cannot measure", 120.0, 90.0)
    assert is_learning(latency, course.progress)
    assert finding(latency, state, learning=True) == (
        "slow: learning from 49,500 users without the feature what is usual,"
        " 120 ms at most nineteen of twenty times until now"
    )
    course.watch(300, replace(FINE, usual_ms=130.0))
    assert course.progress.step == 1
    assert slower_than_ms(latency, course.progress) == 130
    course.look({"slow": replace(HARMFUL, usual_ms=140.0)})
    assert course.progress.status == "rolled_back"
    assert "30 of 60 users with the feature had to wait too long" in course.progress.why


def test_a_guard_of_latency_keeps_to_what_it_is_told() -> None:
    latency = GuardPlan(id="slow", metric="checkout", kind="latency", slower_than_ms=800.0)
    course = Course(Plan(steps=STEPS, guards=(latency,)))
    course.watch(600, replace(FINE, usual_ms=120.0))
    assert course.progress.step == 1
    assert slower_than_ms(latency, course.progress) == 800
    assert not is_learning(latency, course.progress)


def test_a_healthy_release_goes_all_the_way_up() -> None:
    course = Course(PLAN)
    course.watch(4 * 600 + 1800 + 60)
    assert course.percentages == [1.0, 10.0, 50.0, 100.0]
    assert course.progress.status == "released"
    assert not any(move.off for move in course.moves)


def test_a_harmful_one_comes_down_in_the_middle_of_a_step() -> None:
    course = Course(PLAN)
    course.watch(100, Counted(treatment=Arm(exposed=20), control=Arm(exposed=1_980, failed=10)))
    move = course.look({"checkout": HARMFUL})
    assert move.off
    assert move.progress.status == "rolled_back"
    assert "30 of 60 users with the feature failed, and 30 of 5,940 without" in move.progress.why
    assert course.look({"checkout": HARMFUL}).progress == move.progress


@pytest.mark.parametrize("meanwhile", ["paused", "held"])
def test_it_comes_down_also_while_it_waits(meanwhile: str) -> None:
    course = Course(PLAN)
    course.moves.append(Move(progress=replace(course.progress, status=meanwhile)))
    assert course.look({"checkout": HARMFUL}).off


def test_a_guard_may_only_hold_the_ramp() -> None:
    course = Course(replace(PLAN, guards=(replace(CHECKOUT, action="hold"),)))
    move = course.look({"checkout": HARMFUL})
    assert (move.progress.status, move.off) == ("held", False)
    assert course.watch(3600).step == 0
    course.moves.append(ramp.resume(course.plan, course.progress))
    assert course.look({"checkout": HARMFUL}).progress.status == "running"


def test_a_guard_may_only_tell_and_tells_once() -> None:
    course = Course(replace(PLAN, guards=(replace(CHECKOUT, action="notify"),)))
    for _ in range(5):
        course.look({"checkout": HARMFUL})
    assert sum("30 of 60" in text for text in course.told) == 1
    assert course.progress.status == "running"


def test_no_step_ends_before_its_time() -> None:
    course = Course(PLAN)
    assert course.watch(595).step == 0
    assert course.watch(5).step == 1


def test_no_step_ends_before_guards_have_seen_enough_users() -> None:
    course = Course(PLAN)
    few = Counted(treatment=Arm(exposed=99), control=Arm(exposed=9_800))
    assert course.watch(3 * 3600, few).step == 0
    assert sum("has not seen 100 users" in text for text in course.told) == 1
    assert course.watch(5, FINE).step == 1


def test_nobody_is_taken_for_healthy_whom_nobody_has_seen() -> None:
    course = Course(PLAN)
    assert course.watch(24 * 3600, Counted()).step == 0
    assert not any(move.off for move in course.moves)


@pytest.mark.parametrize(("no_data", "status"), [("advance", "released"), ("rollback", "rolled_back")])
def test_silence_may_be_given_another_meaning(no_data: str, status: str) -> None:
    course = Course(replace(PLAN, no_data=no_data))
    course.watch(3 * 3600, Counted())
    assert course.progress.status == status


def test_a_step_does_not_end_while_there_are_doubts() -> None:
    doubtful = Counted(treatment=Arm(exposed=500, failed=8), control=Arm(exposed=49_500, failed=250))
    course = Course(PLAN)
    course.watch(3600, doubtful)
    assert course.progress.step == 0
    assert "not sure yet" in course.progress.why
    # With more users it turns out to have been chance.
    course.watch(5, Counted(treatment=Arm(exposed=5_000, failed=25), control=Arm(exposed=495_000, failed=2_500)))
    assert course.progress.step == 1


def test_somebody_may_have_to_approve() -> None:
    course = Course(replace(PLAN, steps=(replace(STEPS[0], needs_approval=True), *STEPS[1:])))
    course.watch(3600)
    assert (course.progress.step, course.progress.why) == (0, "waiting for approval")
    course.moves.append(ramp.approve(course.progress))
    assert course.watch(5).step == 1
    assert not course.progress.is_approved


def test_time_in_which_nobody_looked_counts_for_nothing_where_there_are_guards() -> None:
    course = Course(PLAN)
    course.look({"checkout": FINE}, after=5)
    course.look({"checkout": FINE}, after=24 * 3600)
    assert course.progress.step == 0
    assert course.progress.watched_seconds <= 35


def test_after_an_outage_a_ramp_without_guards_catches_up_step_by_step() -> None:
    course = Course(UNGUARDED)
    course.look(after=24 * 3600)
    assert course.percentages == [1.0, 10.0]
    course.watch(2 * 600 + 5)
    assert course.percentages == [1.0, 10.0, 50.0, 100.0]


def test_a_clock_that_is_set_back_takes_nothing_back() -> None:
    course = Course(PLAN)
    course.watch(300)
    before = course.progress.watched_seconds
    course.look({"checkout": FINE}, after=-3600)
    assert course.progress.watched_seconds == before
    assert course.watch(305).step == 1


def test_users_that_are_not_shared_out_as_planned_hold_the_ramp() -> None:
    course = Course(PLAN)
    move = course.look({"checkout": Counted(treatment=Arm(exposed=400), control=Arm(exposed=9_600))})
    assert move.progress.status == "held"
    assert "4.00% of the users whom checkout sees have the feature, not 1 %" in move.progress.why


def test_where_everybody_has_it_nobody_can_be_compared() -> None:
    course = Course(PLAN)
    course.watch(3 * 600 + 30)
    assert course.progress.step == 3
    assert course.progress.guards["checkout"].verdict == "cannot measure"


ERRORS = PrometheusGuard(id="errors", query="rate(errors[1m])", max=0.1, checks=3)


def test_a_number_beyond_its_limit_several_times_in_a_row_brings_it_down() -> None:
    course = Course(replace(UNGUARDED, prometheus=(ERRORS,)))
    for value in (0.2, 0.3, 0.05, 0.2, 0.2):
        assert not course.look(asked={"errors": value}).off
    move = course.look(asked={"errors": 0.4})
    assert move.off
    assert move.progress.why == "errors is 0.4, above 0.1, 3 times in a row"


def test_a_number_below_its_limit_does_so_too() -> None:
    course = Course(replace(UNGUARDED, prometheus=(replace(ERRORS, max=None, min=5.0),)))
    moves = [course.look(asked={"errors": value}) for value in (1.0, 1.0, 1.0)]
    assert [move.off for move in moves] == [False, False, True]


def test_what_cannot_be_measured_holds_the_ramp() -> None:
    course = Course(replace(UNGUARDED, prometheus=(ERRORS,)))
    statuses = [course.look(asked={"errors": None}).progress.status for _ in range(4)]
    assert statuses == ["running", "running", "running", "held"]


def test_what_can_be_measured_again_is_held_to_its_limit_again() -> None:
    course = Course(replace(UNGUARDED, prometheus=(ERRORS,)))
    for _ in range(4):
        course.look(asked={"errors": None})
    course.moves.append(ramp.resume(course.plan, course.progress))
    moves = [course.look(asked={"errors": value}) for value in (0.01, 0.4, 0.4, 0.4)]
    assert [move.off for move in moves] == [False, False, False, True]


def test_what_is_still_beyond_its_limit_is_not_told_twice() -> None:
    course = Course(replace(UNGUARDED, prometheus=(replace(ERRORS, action="notify"),)))
    for value in (0.4, 0.4, 0.4, 0.4, 0.4, 0.01, 0.4, 0.4, 0.4):
        course.look(asked={"errors": value})
    assert [text for text in course.told if "errors" in text] == ["errors is 0.4, above 0.1, 3 times in a row"] * 2


def test_what_was_never_measured_is_not_well() -> None:
    steps = (replace(STEPS[0], hold_seconds=0.0), *STEPS[1:])
    course = Course(replace(UNGUARDED, steps=steps, prometheus=(ERRORS,)))
    for _ in range(10):
        course.look()
    assert (course.progress.step, course.progress.why) == (0, "errors is not sure yet")
    assert course.look(asked={"errors": 0.05}).progress.step == 1
    assert course.progress.prometheus == {}, "what was measured before says nothing of this step"


def test_baking_does_not_end_on_a_number_that_nobody_knows() -> None:
    course = Course(replace(UNGUARDED, steps=STEPS[3:], bake_seconds=60, prometheus=(ERRORS,)))
    while course.progress.status == "running":
        course.look(asked={"errors": 0.05}, after=30.0)
    course.look(asked={"errors": None}, after=30.0)
    for _ in range(5):
        course.look(after=30.0)
    assert course.progress.status == "baking"
    assert course.look(asked={"errors": 0.05}).progress.status == "released"


def test_a_number_that_was_beyond_its_limit_and_is_lost_ends_nothing_and_breaks_nothing() -> None:
    others = replace(ERRORS, id="others", checks=1, action="notify")
    course = Course(replace(UNGUARDED, prometheus=(others, ERRORS)))
    for _ in range(2):
        course.look(asked={"errors": 0.4})
    course.look(asked={"errors": 0.4, "others": 0.4})  # of which only one is told at a time
    assert course.look(asked={"errors": None}).progress.status == "running"
    assert course.look(asked={"errors": 0.4}).off


def test_looks_between_checks_are_no_checks() -> None:
    course = Course(replace(UNGUARDED, prometheus=(ERRORS,)))
    course.look(asked={"errors": 0.4})
    for _ in range(10):
        course.look()
    assert course.progress.prometheus["errors"].beyond == 1


@pytest.mark.parametrize(
    ("at_deadline", "status"), [("hold", "held"), ("rollback", "rolled_back"), ("advance", "baking")]
)
def test_after_its_deadline_it_does_what_was_asked(at_deadline: str, status: str) -> None:
    course = Course(replace(PLAN, deadline=BEGAN + timedelta(seconds=60), at_deadline=at_deadline))
    course.watch(90, Counted())
    assert course.progress.status == status


def test_whoever_goes_on_after_the_deadline_is_not_held_again() -> None:
    course = Course(replace(PLAN, deadline=BEGAN + timedelta(seconds=60)))
    assert course.watch(90).status == "held"
    course.moves.append(ramp.resume(course.plan, course.progress))
    assert course.watch(4 * 600 + 1800).status == "released"
    assert sum("it was to be released by" in text for text in course.told) == 1


def test_also_after_its_deadline_somebody_must_approve() -> None:
    steps = (replace(STEPS[0], needs_approval=True), *STEPS[1:])
    course = Course(replace(PLAN, steps=steps, deadline=BEGAN + timedelta(seconds=60), at_deadline="advance"))
    course.watch(90, Counted())
    assert (course.progress.step, course.progress.why) == (0, "waiting for approval")
    course.moves.append(ramp.approve(course.progress))
    assert course.watch(30, Counted()).status == "baking"


def test_pausing_stops_the_time() -> None:
    course = Course(PLAN)
    course.watch(300)
    course.moves.append(ramp.pause(course.progress, "lunch"))
    assert course.watch(3600).step == 0
    course.moves.append(ramp.resume(course.plan, course.progress))
    assert course.watch(290).step == 0
    assert course.watch(10).step == 1


def test_it_can_be_hurried() -> None:
    course = Course(PLAN)
    for _ in range(5):
        course.moves.append(ramp.advance(course.plan, course.progress, course.now))
    assert course.percentages == [1.0, 10.0, 50.0, 100.0]
    assert course.progress.status == "released"


counts = st.builds(
    lambda a, b, c, d: Counted(treatment=Arm(exposed=a, failed=min(a, b)), control=Arm(exposed=c, failed=min(c, d))),
    *(st.integers(0, limit) for limit in (5_000, 100, 50_000, 1_000)),
)


LOPSIDED = Counted(treatment=Arm(exposed=100, failed=0), control=Arm(exposed=49_900, failed=250))
LOPSIDED_AND_HARMFUL = Counted(treatment=Arm(exposed=100, failed=60), control=Arm(exposed=49_900, failed=260))


def test_who_goes_on_although_users_are_not_shared_out_as_planned_is_not_held_again() -> None:
    course = Course(replace(PLAN, guards=(CHECKOUT, replace(CHECKOUT, id="search"))))
    assert course.watch(5, LOPSIDED).status == "held"
    assert "something else than the rollout" in course.progress.why
    course.moves.append(ramp.resume(course.plan, course.progress))
    assert course.watch(60, LOPSIDED).status == "running"


@pytest.mark.parametrize("told", ["hold", "notify"])
def test_a_guard_that_has_told_of_wrong_shares_still_turns_harm_back(told: Literal["hold", "notify"]) -> None:
    course = Course(replace(PLAN, sample_ratio=told))
    course.watch(10, LOPSIDED)
    assert len(course.told) == 2  # the first step, and the shares
    course.watch(5, LOPSIDED_AND_HARMFUL)
    assert course.progress.status == "rolled_back"
    assert course.moves[-1].off


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.tuples(counts, st.floats(-100, 2_000), st.booleans()), max_size=40))
def test_whatever_is_seen_shares_only_grow_and_off_is_the_end(looks: list[tuple[Counted, float, bool]]) -> None:
    course = Course(PLAN)
    for counted, after, is_resumed in looks:
        if is_resumed and course.progress.status == "held":
            course.moves.append(ramp.resume(course.plan, course.progress))
        course.look({"checkout": counted}, after=after)
    assert all(before < after for before, after in pairwise(course.percentages))
    ends = [move for move in course.moves if move.off]
    assert not ends or ends == [course.moves[-1]] or course.progress.status == "rolled_back"
    assert all(before.progress.step <= after.progress.step for before, after in pairwise(course.moves))
    assert len({move.progress.status for move in course.moves} & OVER) <= 1
