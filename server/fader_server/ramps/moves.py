"""What comes next in a ramp: from one value to another, with no clock and no storage of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fader_server.ramps import sample_ratio
from fader_server.ramps.plan import WHOLE, Action, Plan, Step
from fader_server.ramps.progress import Counted, GuardProgress, Progress, Status, step_of
from fader_server.ramps.verdicts import finding, measured

_MOST_UNMEASURED: Final = 4
"""Checks in a row that Prometheus may leave unanswered."""

_SILENT_SECONDS: Final = 1800.0
"""A guard that has seen nobody for so long is told of."""


AWAITING: Final = "waiting for approval"
"""Why a ramp does not go on that needs somebody's word."""


class Move(Struct, frozen=True, kw_only=True):
    """What a look leads to.

    Args:
        progress: Where the ramp stands after it.
        percentage: What the flag is to be set to; ``None`` for nothing.
        off: Whether the flag is to be switched off.
        tell: What people should hear of.
    """

    progress: Progress
    percentage: float | None = None
    off: bool = False
    tell: tuple[str, ...] = ()


def begin(plan: Plan, now: datetime) -> Move:
    """The first step."""
    return _enter(plan, Progress(began=now, looked=now), 0, now)


def look(
    plan: Plan,
    progress: Progress,
    counted: Mapping[str, Counted],
    asked: Mapping[str, float | None],
    now: datetime,
) -> Move:
    """What there is to be done now.

    Args:
        plan: Of the ramp.
        progress: Where it stands.
        counted: What guards have counted in this step, by their ids.
        asked: What Prometheus has answered since the last look, by guards' ids; ``None`` where it could not.
        now: The present time.
    """
    if progress.is_over:
        return Move(progress=progress)
    progress = measured(plan, progress, counted, asked, now)
    for judged in (_compared, _held_to_limits, _shared_out_wrongly):
        move = judged(plan, progress)
        if move is not None:
            return move
    if progress.status in ("paused", "held"):
        return Move(progress=progress)
    return _late(plan, progress, now) or _onward(plan, progress, now)


def advance(plan: Plan, progress: Progress, now: datetime) -> Move:
    """Go on at once, because somebody says so."""
    return _next(plan, progress, now)


def pause(progress: Progress, why: str) -> Move:
    """Stay, until somebody says otherwise. Guards go on watching."""
    return Move(progress=replace(progress, status="paused", why=why))


def resume(plan: Plan, progress: Progress) -> Move:
    """Go on after a pause, or after a guard has held the ramp: what it found is taken to be known."""
    status: Status = "baking" if progress.step >= len(plan.steps) else "running"
    return Move(progress=replace(progress, status=status, why=""))


def approve(progress: Progress) -> Move:
    """Let this step end when all else is there."""
    return Move(progress=replace(progress, is_approved=True))


def end(progress: Progress, status: Literal["aborted", "rolled_back"], why: str, *, off: bool) -> Move:
    """Put an end to it."""
    return Move(progress=replace(progress, status=status, why=why), off=off)


# What guards may demand: by users, by numbers, by shares.


def _compared(plan: Plan, progress: Progress) -> Move | None:
    for guard in plan.guards:
        state = progress.guards[guard.id]
        if state.verdict == "worse" and not state.is_told:
            told = replace(progress, guards={**progress.guards, guard.id: replace(state, is_told=True)})
            return _acted(told, guard.action, finding(guard, state))
    return None


def _held_to_limits(plan: Plan, progress: Progress) -> Move | None:
    for guard in plan.prometheus:
        state = progress.prometheus[guard.id]
        if state.is_told:
            continue
        told = replace(progress, prometheus={**progress.prometheus, guard.id: replace(state, is_told=True)})
        if state.value is not None and state.beyond >= guard.checks:
            limit = f"above {guard.max:g}" if guard.max is not None and state.value > guard.max else "too low"
            return _acted(told, guard.action, f"{guard.id} is {state.value:g}, {limit}, {state.beyond} times in a row")
        if state.unmeasured >= _MOST_UNMEASURED:
            return _acted(told, "hold", f"{guard.id} could not be measured {state.unmeasured} times in a row")
    return None


def _shared_out_wrongly(plan: Plan, progress: Progress) -> Move | None:
    step = step_of(plan, progress)
    if progress.status in ("paused", "held") or step.percentage >= WHOLE:
        return None
    lopsided = {
        id_: replace(state, is_mismatch_told=True)
        for id_, state in progress.guards.items()
        if sample_ratio.is_mismatch(*_users(state), step.percentage / WHOLE)
    }
    # Whoever goes on after having been told knows it.
    news = [id_ for id_ in lopsided if not progress.guards[id_].is_mismatch_told]
    if not news:
        return None
    exposed, others = _users(lopsided[news[0]])
    return _acted(
        replace(progress, guards={**progress.guards, **lopsided}),
        plan.sample_ratio,
        f"{exposed / (exposed + others):.2%} of the users whom {news[0]} sees have the feature, not"
        f" {step.percentage:g} %: something else than the rollout decides who is counted",
    )


def _users(state: GuardProgress) -> tuple[int, int]:
    return state.evidence.treatment.exposed, state.evidence.control.exposed


def _acted(progress: Progress, action: Action, why: str) -> Move:
    if action == "rollback":
        return Move(progress=replace(progress, status="rolled_back", why=why), off=True, tell=(why,))
    if action == "hold" and progress.status != "held":
        return Move(progress=replace(progress, status="held", why=why), tell=(why,))
    return Move(progress=progress, tell=(why,))


# Time.


def _late(plan: Plan, progress: Progress, now: datetime) -> Move | None:
    if plan.deadline is None or now < plan.deadline or progress.status == "baking":
        return None
    if plan.at_deadline == "advance":
        return _on_approval(plan, progress, step_of(plan, progress), now)
    if plan.at_deadline == "hold" and progress.is_deadline_told:
        return None  # whoever goes on after having been told knows it
    why = f"it was to be released by {plan.deadline.isoformat()}"
    return _acted(replace(progress, is_deadline_told=True), plan.at_deadline, why)


def _onward(plan: Plan, progress: Progress, now: datetime) -> Move:
    if progress.status == "baking":
        return _out_of_the_oven(plan, progress, now)
    step = step_of(plan, progress)
    unseen = [
        guard.id for guard in plan.guards if progress.guards[guard.id].evidence.treatment.exposed < step.least_exposed
    ]
    if progress.watched_seconds >= step.hold_seconds and not unseen:
        return _on_agreement(plan, progress, step, now)
    if progress.watched_seconds >= step.hold_seconds and plan.no_data == "advance":
        return _on_agreement(plan, progress, step, now)
    if not unseen or progress.watched_seconds < max(_SILENT_SECONDS, step.hold_seconds):
        waiting = f"waiting for {', '.join(unseen)} to see {step.least_exposed:,} users with the feature"
        is_waiting = bool(unseen) and progress.watched_seconds >= step.hold_seconds
        return Move(progress=replace(progress, why=waiting if is_waiting else ""))
    why = f"{', '.join(unseen)} has not seen {step.least_exposed:,} users with the feature for half an hour"
    if plan.no_data == "rollback":
        return _acted(progress, "rollback", why)
    tell = () if progress.is_silence_told else (why,)
    return Move(progress=replace(progress, why=why, is_silence_told=True), tell=tell)


def _out_of_the_oven(plan: Plan, progress: Progress, now: datetime) -> Move:
    """What comes of baking: guards that compare users have nobody left to compare, but numbers must be well."""
    if progress.watched_seconds < plan.bake_seconds:
        return Move(progress=progress)
    doubtful = _unsettled(plan, progress)
    if doubtful and plan.no_data != "advance":
        return _in_doubt(progress, doubtful)
    return _next(plan, progress, now)


def _on_agreement(plan: Plan, progress: Progress, step: Step, now: datetime) -> Move:
    doubtful = [guard.id for guard in plan.guards if progress.guards[guard.id].verdict in ("inconclusive", "worse")]
    doubtful += _unsettled(plan, progress)
    if doubtful and plan.no_data != "advance":
        return _in_doubt(progress, doubtful)
    return _on_approval(plan, progress, step, now)


def _unsettled(plan: Plan, progress: Progress) -> list[str]:
    return [guard.id for guard in plan.prometheus if progress.prometheus[guard.id].verdict != "ok"]


def _in_doubt(progress: Progress, guards: Sequence[str]) -> Move:
    return Move(progress=replace(progress, why=f"{', '.join(guards)} is not sure yet"))


def _on_approval(plan: Plan, progress: Progress, step: Step, now: datetime) -> Move:
    if step.needs_approval and not progress.is_approved:
        tell = () if progress.why == AWAITING else (AWAITING,)
        return Move(progress=replace(progress, why=AWAITING), tell=tell)
    return _next(plan, progress, now)


def _next(plan: Plan, progress: Progress, now: datetime) -> Move:
    if progress.status == "baking" or progress.step >= len(plan.steps):
        return Move(progress=replace(progress, status="released", why=""), tell=("released",))
    if progress.step + 1 < len(plan.steps):
        return _enter(plan, progress, progress.step + 1, now)
    if plan.bake_seconds <= 0 or not plan.is_guarded:
        return Move(progress=replace(progress, status="released", why=""), tell=("released",))
    baking = replace(
        progress, status="baking", step=progress.step + 1, began=now, looked=now, watched_seconds=0.0, why=""
    )
    return Move(progress=baking, tell=("all steps are done; guards go on watching",))


def _enter(plan: Plan, progress: Progress, step: int, now: datetime) -> Move:
    usual = {guard: state.usual_ms for guard, state in progress.guards.items() if state.usual_ms is not None}
    entered = Progress(
        step=step,
        began=now,
        looked=now,
        slow_ms=progress.slow_ms | usual,
        revision=progress.revision,
        is_deadline_told=progress.is_deadline_told,
    )
    percentage = plan.steps[step].percentage
    return Move(progress=entered, percentage=percentage, tell=(f"{percentage:g} %",))
