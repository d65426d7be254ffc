"""What the admin API takes and answers about ramps."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from fader_server.api.admin.requests import Body, Key, Line, Percentage, Reason, model_of
from fader_server.api.admin.views import ChangePropagation, change_propagation
from fader_server.ramping.preview import Traffic
from fader_server.ramps.evidence import Arm
from fader_server.ramps.plan import Action, GuardKind, GuardPlan, Plan, PrometheusGuard
from fader_server.ramps.progress import (
    Checked,
    GuardProgress,
    Status,
    Verdict,
    is_learning,
    slower_than_ms,
    step_number,
    step_of,
)
from fader_server.ramps.verdicts import finding
from fader_server.storage.records import NodePropagation, Ramp, RampLook

Seconds = Annotated[float, Meta(extra_json_schema={"extra": {"minimum": 0}})]

_LARGEST_LOG: Final = 300.0


class StepBody(Body, frozen=True, kw_only=True):
    """A share of users, and what must be there before it becomes more: time, users that guards have seen, and
    somebody's approval where that is asked for."""

    percentage: Percentage
    hold_seconds: Seconds = 600.0
    least_exposed: int = 100
    needs_approval: bool = False


class GuardBody(Body, frozen=True, kw_only=True):
    """Compares users who have the feature with those who have not, by what applications record under ``metric``."""

    id: Key
    metric: Line
    kind: GuardKind = "failures"
    slower_than_ms: float | None = None
    margin: float = 0.0
    action: Action = "rollback"


class PrometheusBody(Body, frozen=True, kw_only=True):
    """Holds a number that Prometheus knows between ``min`` and ``max``."""

    id: Key
    query: str
    max: float | None = None
    min: float | None = None
    checks: int = 3
    every_seconds: float = 10.0
    action: Action = "rollback"


class PlanBody(Body, frozen=True, kw_only=True):
    """What a ramp is to do."""

    steps: tuple[StepBody, ...]
    bake_seconds: Seconds = 1800.0
    guards: tuple[GuardBody, ...] = ()
    prometheus: tuple[PrometheusBody, ...] = ()
    alpha: float = 0.05
    rule: str | None = None
    sample_ratio: Literal["hold", "notify"] = "hold"
    no_data: Literal["hold", "rollback", "advance"] = "hold"
    deadline: datetime | None = None
    at_deadline: Literal["hold", "rollback", "advance"] = "hold"

    def plan(self) -> Plan:
        """It, as the services take it."""
        return model_of(self, Plan)


class StartRamp(PlanBody, frozen=True, kw_only=True):
    """A ramp that is to begin."""

    reason: Reason = ""


class TrafficBody(Body, frozen=True, kw_only=True):
    """What is assumed of users."""

    users_per_hour: float
    failing: float

    def traffic(self) -> Traffic:
        """It, as the preview takes it."""
        return Traffic(users_per_hour=self.users_per_hour, failing=self.failing)


class PreviewRamp(PlanBody, frozen=True, kw_only=True):
    """A plan to look at. Without ``traffic``, what an earlier ramp of the flag has counted is gone by."""

    traffic: TrafficBody | None = None


class AbortRamp(Body, frozen=True, kw_only=True):
    """Whether the flag is to be switched off. The whole body may be left out: then it stays where it is."""

    off: bool = False
    reason: Reason = ""


class ArmView(Struct, frozen=True):
    """Distinct users, counted since the step began."""

    exposed: int
    failed: int


class LookView(Struct, frozen=True):
    """What a guard had found at a moment."""

    at: datetime
    step: int
    treatment: ArmView
    control: ArmView
    log_e: float


class GuardView(Struct, frozen=True, kw_only=True):
    """A guard in the present step. It turns back when ``e_value`` reaches ``threshold``. ``of_nobody`` is how
    often something was recorded without a user, which is on neither side.

    A guard of latency without ``slower_than_ms`` is learning. What it took at most nineteen of twenty times is
    ``treatment_p95_ms`` with the feature and ``control_p95_ms`` without; the next step goes by the latter."""

    id: str
    metric: str
    kind: GuardKind
    action: Action
    margin: float
    slower_than_ms: float | None
    treatment_p95_ms: float | None
    control_p95_ms: float | None
    verdict: Verdict
    treatment: ArmView
    control: ArmView
    ratio: float | None
    e_value: float
    e_value_of_no_harm: float
    threshold: float
    of_nobody: int
    found: str
    looks: list[LookView]


class CheckView(Struct, frozen=True, kw_only=True):
    """A guard that asks Prometheus."""

    id: str
    query: str
    max: float | None
    min: float | None
    action: Action
    verdict: Verdict
    value: float | None
    beyond: int
    unmeasured: int


class RampView(Struct, frozen=True, kw_only=True):
    """A ramp. ``step`` counts from 1. ``earliest`` is when the present step can end. ``acknowledged`` says which SDK
    processes have applied the flag's last change by the ramp, as far as that is known already."""

    id: str
    project: str
    environment: str
    flag: str
    status: Status
    why: str
    step: int
    percentage: float
    began: datetime
    watched_seconds: float
    earliest: datetime | None
    needs_approval: bool
    is_approved: bool
    plan: Plan
    guards: list[GuardView]
    prometheus: list[CheckView]
    revision: int
    acknowledged: ChangePropagation | None
    created_at: datetime
    created_by: str
    reason: str
    updated_at: datetime


class RampWritten(Struct, frozen=True):
    """What a command made of a ramp; ``revision`` is the environment's after it."""

    ramp: RampView
    revision: int


def ramp_view(ramp: Ramp, looks: Sequence[RampLook] = (), reached: Sequence[NodePropagation] = ()) -> RampView:
    """A ramp, as it is shown.

    Args:
        ramp: As it is.
        looks: What its guards have found over time.
        reached: How the flag's last change by it has reached clients.
    """
    plan, progress = ramp.plan, ramp.progress
    step = step_of(plan, progress)
    seconds = plan.bake_seconds if progress.status == "baking" else step.hold_seconds
    left = max(seconds - progress.watched_seconds, 0.0)
    is_moving = progress.status in ("running", "baking")
    return RampView(
        id=ramp.id,
        project=ramp.project,
        environment=ramp.environment,
        flag=ramp.flag,
        status=progress.status,
        why=progress.why,
        step=step_number(plan, progress) + 1,
        percentage=step.percentage,
        began=progress.began,
        watched_seconds=progress.watched_seconds,
        earliest=progress.looked + timedelta(seconds=left) if is_moving else None,
        needs_approval=step.needs_approval,
        is_approved=progress.is_approved,
        plan=plan,
        guards=[_guard_view(ramp, guard, looks) for guard in plan.guards],
        prometheus=[_check_view(ramp, guard) for guard in plan.prometheus],
        revision=progress.revision,
        acknowledged=change_propagation(reached) if reached else None,
        created_at=ramp.created_at,
        created_by=ramp.created_by,
        reason=ramp.reason,
        updated_at=ramp.updated_at,
    )


def _guard_view(ramp: Ramp, guard: GuardPlan, looks: Sequence[RampLook]) -> GuardView:
    state = ramp.progress.guards.get(guard.id, GuardProgress())
    evidence = state.evidence
    return GuardView(
        id=guard.id,
        metric=guard.metric,
        kind=guard.kind,
        action=guard.action,
        margin=guard.margin,
        slower_than_ms=_rounded(slower_than_ms(guard, ramp.progress)),
        treatment_p95_ms=_rounded(state.treated_ms),
        control_p95_ms=_rounded(state.usual_ms),
        verdict=state.verdict,
        treatment=_arm(evidence.treatment),
        control=_arm(evidence.control),
        ratio=evidence.ratio,
        e_value=_e_value(evidence.log_e),
        e_value_of_no_harm=_e_value(evidence.log_e_reverse),
        threshold=1 / ramp.plan.alpha_each,
        of_nobody=state.of_nobody,
        found=finding(guard, state, learning=is_learning(guard, ramp.progress)),
        looks=[
            LookView(
                at=look.at,
                step=min(look.step, len(ramp.plan.steps) - 1) + 1,
                treatment=ArmView(look.exposed, look.failed),
                control=ArmView(look.others, look.others_failed),
                log_e=look.log_e,
            )
            for look in looks
            if look.guard == guard.id
        ],
    )


def _check_view(ramp: Ramp, guard: PrometheusGuard) -> CheckView:
    checked = ramp.progress.prometheus.get(guard.id, Checked())
    return CheckView(
        id=guard.id,
        query=guard.query,
        max=guard.max,
        min=guard.min,
        action=guard.action,
        verdict=checked.verdict,
        value=checked.value,
        beyond=checked.beyond,
        unmeasured=checked.unmeasured,
    )


def _arm(arm: Arm) -> ArmView:
    return ArmView(arm.exposed, arm.failed)


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 2)


def _e_value(logarithm: float) -> float:
    return math.exp(min(logarithm, _LARGEST_LOG))
