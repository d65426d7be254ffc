"""What guards make of what has been counted and measured since the last look."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from fader_server.ramps.evidence import Evidence
from fader_server.ramps.plan import WHOLE, GuardPlan, Plan, PrometheusGuard, Step
from fader_server.ramps.progress import Checked, Counted, GuardProgress, Progress, Verdict, is_learning, step_of

_SUSPICIOUS: Final = 10.0
"""Odds against a feature at which a step does not end, although they are not enough to turn back."""

_LONGEST_LOOK: Final = timedelta(seconds=30)
"""Time between two looks counts as watched up to here. What has gone by while no server looked, or what a clock has
jumped, is not."""


def measured(
    plan: Plan,
    progress: Progress,
    counted: Mapping[str, Counted],
    asked: Mapping[str, float | None],
    now: datetime,
) -> Progress:
    """A ramp's progress with the present verdict of each guard; arguments as of ``moves.look``."""
    step = step_of(plan, progress)
    guards = {
        guard.id: _guard_measured(plan, guard, step, progress, counted.get(guard.id, Counted()))
        for guard in plan.guards
    }
    prometheus = {
        guard.id: _checked(guard, progress.prometheus.get(guard.id, Checked()), asked) for guard in plan.prometheus
    }
    passed = min(max(now - progress.looked, timedelta()), _LONGEST_LOOK if plan.is_guarded else timedelta.max)
    watched = progress.watched_seconds
    if progress.status in ("running", "baking"):
        watched += passed.total_seconds()
    return replace(progress, guards=guards, prometheus=prometheus, looked=now, watched_seconds=watched)


def _guard_measured(plan: Plan, guard: GuardPlan, step: Step, progress: Progress, seen: Counted) -> GuardProgress:
    before = progress.guards.get(guard.id, GuardProgress())
    evidence = before.evidence.look(seen.treatment, seen.control, guard.margin)
    enough = evidence.treatment.exposed >= step.least_exposed
    if evidence.is_worse(plan.alpha_each):
        verdict: Verdict = "worse"
    elif is_learning(guard, progress) or step.percentage >= WHOLE or not _are_compared(evidence):
        verdict = "cannot measure"
    elif not enough or evidence.is_worse(1 / _SUSPICIOUS):
        verdict = "inconclusive"
    else:
        verdict = "ok"
    return replace(
        before,
        evidence=evidence,
        verdict=verdict,
        of_nobody=max(before.of_nobody, seen.of_nobody),
        usual_ms=before.usual_ms if seen.usual_ms is None else seen.usual_ms,
        treated_ms=before.treated_ms if seen.treated_ms is None else seen.treated_ms,
    )


def _are_compared(evidence: Evidence) -> bool:
    return bool(evidence.treatment.exposed and evidence.control.exposed)


def _checked(guard: PrometheusGuard, before: Checked, asked: Mapping[str, float | None]) -> Checked:
    if guard.id not in asked:
        return before
    value = asked[guard.id]
    if value is None:
        return replace(before, value=None, unmeasured=before.unmeasured + 1)
    is_beyond = (guard.max is not None and value > guard.max) or (guard.min is not None and value < guard.min)
    # Who was told that nothing could be measured, or that it was too much, has not been told of what comes after that.
    is_told = before.is_told and is_beyond and not before.unmeasured
    return Checked(value=value, beyond=before.beyond + 1 if is_beyond else 0, is_told=is_told)


def finding(guard: GuardPlan, state: GuardProgress, *, learning: bool = False) -> str:
    """What a guard has found, in a sentence.

    Args:
        guard: Which.
        state: Where it stands.
        learning: Whether it cannot compare yet.
    """
    treatment, control = state.evidence.treatment, state.evidence.control
    if learning:
        usual = (
            "" if state.usual_ms is None else f", {state.usual_ms:,.0f} ms at most nineteen of twenty times until now"
        )
        return f"{guard.id}: learning from {control.exposed:,} users without the feature what is usual{usual}"
    what = "failed" if guard.kind == "failures" else "had to wait too long"
    times = "" if state.evidence.ratio is None else f", {state.evidence.ratio:.1f} times as many"
    return (
        f"{guard.id}: {treatment.failed:,} of {treatment.exposed:,} users with the feature {what}, and"
        f" {control.failed:,} of {control.exposed:,} without{times}"
    )
