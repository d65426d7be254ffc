"""What a ramp is to do, given before it starts: its steps, what may stop it, and what is to happen then."""

from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Action: TypeAlias = Literal["rollback", "hold", "notify"]
"""What a guard does that has had enough: switch the flag off, keep the ramp where it is, or only tell."""

GuardKind: TypeAlias = Literal["failures", "latency"]

WHOLE: Final = 100.0


class Step(Struct, frozen=True, kw_only=True):
    """A share of users, and how long to stay there. A step ends when all that it asks for is there.

    Args:
        percentage: Of users that have the feature, in percent.
        hold_seconds: How long it takes at least.
        least_exposed: Users with the feature that each guard must have seen. Of no account without guards.
        needs_approval: Whether somebody must say so before the step ends.
    """

    percentage: float
    hold_seconds: float = 600.0
    least_exposed: int = 100
    needs_approval: bool = False


class GuardPlan(Struct, frozen=True, kw_only=True):
    """Compares users who have the feature with those who have not, by what applications record.

    Args:
        id: Its name in the ramp.
        metric: The name under which applications record.
        kind: What is worse: more users who fail, or more users to whom it was slow.
        slower_than_ms: What is slow, in milliseconds. ``None``: what takes longer than it did nineteen of twenty times
            without the feature in the step before; the first step then only learns.
        margin: The harm that is tolerated: 0.1 for a tenth more.
        action: What becomes of the ramp.
    """

    id: str
    metric: str
    kind: GuardKind = "failures"
    slower_than_ms: float | None = None
    margin: float = 0.0
    action: Action = "rollback"


class PrometheusGuard(Struct, frozen=True, kw_only=True):
    """Holds a number that Prometheus knows to a limit: a guard of last resort, which compares nobody with anybody.

    Args:
        id: Its name in the ramp.
        query: A PromQL expression of one value.
        max: The highest that is well.
        min: The lowest.
        checks: How many times in a row it must be beyond.
        every_seconds: How far apart they are.
        action: What becomes of the ramp then.
    """

    id: str
    query: str
    max: float | None = None
    min: float | None = None
    checks: int = 3
    every_seconds: float = 10.0
    action: Action = "rollback"


class Plan(Struct, frozen=True, kw_only=True):
    """All of it.

    Args:
        steps: In order, each with more users than the one before.
        bake_seconds: How long guards go on watching after the last step.
        guards: Compare users.
        prometheus: Watch numbers.
        alpha: The probability with which a healthy release is turned back at most, by all of ``guards`` in all steps.
        rule: Whose rollout is raised; ``None`` for the one that is for everybody.
        sample_ratio: What to do when users are not shared out as planned.
        no_data: What to do with a step that has had its time, while guards have not seen enough users.
        deadline: When it must have been released.
        at_deadline: What to do if it has not.
    """

    steps: tuple[Step, ...]
    bake_seconds: float = 1800.0
    guards: tuple[GuardPlan, ...] = ()
    prometheus: tuple[PrometheusGuard, ...] = ()
    alpha: float = 0.05
    rule: str | None = None
    sample_ratio: Literal["hold", "notify"] = "hold"
    no_data: Literal["hold", "rollback", "advance"] = "hold"
    deadline: datetime | None = None
    at_deadline: Literal["hold", "rollback", "advance"] = "hold"

    @property
    def is_guarded(self) -> bool:
        """Whether anything watches."""
        return bool(self.guards or self.prometheus)

    @property
    def alpha_each(self) -> float:
        """What of ``alpha`` each guard may use up in each step. (Where everybody has the feature there is nobody to
        compare with, and nothing to be used up.)"""
        comparing = sum(step.percentage < WHOLE for step in self.steps)
        turning_back = sum(guard.action == "rollback" for guard in self.guards)
        return self.alpha / max(comparing * turning_back, 1)
