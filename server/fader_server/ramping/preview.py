"""What a plan comes to before it starts: how long it takes at least, how many users each step has, and what harm it can
catch."""

from typing import Final

from msgspec import Struct

from fader_server.ramps.evidence import smallest_lift
from fader_server.ramps.plan import WHOLE, Plan
from fader_server.storage.records import Ramp

_A_WATCHED_MINUTE: Final = 60.0
"""Less is not enough to tell from it how many users come."""


class Traffic(Struct, frozen=True, kw_only=True):
    """What is known of users, or assumed.

    Args:
        users_per_hour: Distinct users who come to where guards are, with the feature or without.
        failing: The share of them who fail without it, between 0 and 1.
        is_measured: Whether an earlier ramp has counted them.
    """

    users_per_hour: float
    failing: float
    is_measured: bool = False


class StepPreview(Struct, frozen=True, kw_only=True):
    """What a step comes to.

    Args:
        percentage: Of users with the feature.
        seconds: How long it takes at least: its time, or until enough users have come, if that is longer.
        exposed: Users with the feature by then; ``None`` if it is not known how many come.
        others: Users without.
        smallest_lift: How many times as many failures it can be expected to catch; ``None`` if it is not known, or
            nothing would be enough.
    """

    percentage: float
    seconds: float
    exposed: int | None
    others: int | None
    smallest_lift: float | None


class Preview(Struct, frozen=True, kw_only=True):
    """What a plan comes to. ``seconds`` is the earliest finish from now on, baking and all."""

    seconds: float
    alpha: float
    alpha_each: float
    traffic: Traffic | None
    steps: tuple[StepPreview, ...]


def preview(plan: Plan, traffic: Traffic | None) -> Preview:
    """Look ahead.

    Args:
        plan: What is wanted.
        traffic: What is known of users.
    """
    margin = min((guard.margin for guard in plan.guards), default=0.0)
    steps = []
    for step in plan.steps:
        share = step.percentage / WHOLE
        if traffic is None or traffic.users_per_hour <= 0:
            steps.append(
                StepPreview(
                    percentage=step.percentage, seconds=step.hold_seconds, exposed=None, others=None, smallest_lift=None
                )
            )
            continue
        needed = step.least_exposed / share / traffic.users_per_hour * 3600 if plan.guards else 0.0
        seconds = max(step.hold_seconds, needed)
        users = traffic.users_per_hour * seconds / 3600
        lift = smallest_lift(users * share, users * (1 - share), traffic.failing, plan.alpha_each, margin)
        steps.append(
            StepPreview(
                percentage=step.percentage,
                seconds=seconds,
                exposed=round(users * share),
                others=round(users * (1 - share)),
                smallest_lift=lift if plan.guards else None,
            )
        )
    bake = plan.bake_seconds if plan.is_guarded else 0.0
    return Preview(
        seconds=sum(step.seconds for step in steps) + bake,
        alpha=plan.alpha,
        alpha_each=plan.alpha_each,
        traffic=traffic,
        steps=tuple(steps),
    )


def traffic_of(ramp: Ramp) -> Traffic | None:
    """What an earlier ramp has counted in its last step, if that is enough to go by."""
    watched = ramp.progress.watched_seconds
    counted = [state.evidence for state in ramp.progress.guards.values()]
    if watched < _A_WATCHED_MINUTE or not counted:
        return None
    busiest = max(counted, key=lambda evidence: evidence.treatment.exposed + evidence.control.exposed)
    users = busiest.treatment.exposed + busiest.control.exposed
    if not users:
        return None
    base = busiest.control if busiest.control.exposed else busiest.treatment
    return Traffic(
        users_per_hour=users / watched * 3600,
        failing=base.failed / base.exposed if base.exposed else 0.0,
        is_measured=True,
    )
