"""How far a ramp has come, as it is kept between two looks."""

from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from fader_server.ramps.evidence import Arm, Evidence
from fader_server.ramps.plan import GuardPlan, Plan, Step

Status: TypeAlias = Literal["running", "paused", "held", "baking", "released", "rolled_back", "aborted"]
Verdict: TypeAlias = Literal["ok", "worse", "inconclusive", "cannot measure"]

OVER: Final[frozenset[Status]] = frozenset({"released", "rolled_back", "aborted"})
"""Nothing more happens to a ramp that is there."""


class Counted(Struct, frozen=True, kw_only=True):
    """What one guard has counted since the step began.

    Args:
        treatment: Users with the feature.
        control: Users without.
        of_nobody: How often something was recorded without a user. That is on neither side.
        usual_ms: What it took at most nineteen of twenty times without the feature; ``None`` if it is not known. It is
            for guards of latency, and of times, not of users: what is slow is the same for everybody.
        treated_ms: The same with the feature.
    """

    treatment: Arm = Arm()
    control: Arm = Arm()
    of_nobody: int = 0
    usual_ms: float | None = None
    treated_ms: float | None = None


class GuardProgress(Struct, frozen=True, kw_only=True):
    """Where a guard stands in the present step.

    Args:
        evidence: What it has found.
        verdict: What that means.
        of_nobody: As of ``Counted``.
        usual_ms: As of ``Counted``.
        treated_ms: As of ``Counted``.
        is_told: Whether it has been told that it is worse.
        is_mismatch_told: Whether it has been told that users are not shared out as planned.
    """

    evidence: Evidence = Evidence()
    verdict: Verdict = "inconclusive"
    of_nobody: int = 0
    usual_ms: float | None = None
    treated_ms: float | None = None
    is_told: bool = False
    is_mismatch_told: bool = False


class Checked(Struct, frozen=True, kw_only=True):
    """Where a guard that asks Prometheus stands.

    Args:
        value: What it was told last; ``None`` if nothing.
        beyond: How many times in a row it was beyond its limit.
        unmeasured: How many times in a row there was no answer.
        is_told: Whether what there was to tell of it has been told.
    """

    value: float | None = None
    beyond: int = 0
    unmeasured: int = 0
    is_told: bool = False

    @property
    def verdict(self) -> Verdict:
        """What that means."""
        if self.value is None:
            return "cannot measure"
        return "inconclusive" if self.beyond else "ok"


class Progress(Struct, frozen=True, kw_only=True):
    """Where a ramp stands.

    Args:
        status: What it is doing.
        step: Which step it is in, counted from 0.
        began: When it came there.
        looked: When it was looked at last.
        watched_seconds: How much of the time since then it was watched.
        is_approved: Whether somebody has approved of going on.
        why: Why it does not go on, or has ended; empty while it goes on.
        guards: By their ids.
        prometheus: By their ids.
        slow_ms: By the ids of guards of latency that were not told what is slow: what took longer than it did nineteen
            of twenty times without the feature in the step before.
        revision: Of the flag's last change by this ramp.
        is_silence_told: Whether it has been told that guards see nobody.
        is_deadline_told: Whether it has been told that its deadline has passed.
    """

    status: Status = "running"
    step: int = 0
    began: datetime
    looked: datetime
    watched_seconds: float = 0.0
    is_approved: bool = False
    why: str = ""
    guards: dict[str, GuardProgress] = {}
    prometheus: dict[str, Checked] = {}
    slow_ms: dict[str, float] = {}
    revision: int = 0
    is_silence_told: bool = False
    is_deadline_told: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER


def slower_than_ms(guard: GuardPlan, progress: Progress) -> float | None:
    """What is slow to a guard of latency in the present step; ``None`` while it learns what is usual."""
    return guard.slower_than_ms or progress.slow_ms.get(guard.id)


def is_learning(guard: GuardPlan, progress: Progress) -> bool:
    """Whether a guard cannot compare yet, for it does not know what is slow."""
    return guard.kind == "latency" and slower_than_ms(guard, progress) is None


def step_number(plan: Plan, progress: Progress) -> int:
    """The number of the step that it is in, counted from 0: the last one's while it is baking."""
    return min(progress.step, len(plan.steps) - 1)


def step_of(plan: Plan, progress: Progress) -> Step:
    """The step that it is in; the last one while it is baking."""
    return plan.steps[step_number(plan, progress)]
