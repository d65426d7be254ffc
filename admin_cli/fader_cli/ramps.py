"""Ramps as the admin API tells of them, as far as that is of interest here, and what there is to say of one."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct

from fader_cli.percentages import format_percentage

OVER: Final = frozenset({"released", "rolled_back", "aborted"})
"""Nothing more happens to a ramp that is there."""

WHOLE: Final = 100.0

_MANY: Final = 1_000_000


class Arm(Struct, frozen=True):
    """Distinct users in the present step."""

    exposed: int
    failed: int

    @property
    def share(self) -> float:
        """How many of them failed, between 0 and 1."""
        return self.failed / self.exposed if self.exposed else 0.0


class Look(Struct, frozen=True):
    """What a guard had found at a moment."""

    at: datetime
    step: int
    log_e: float


class Guard(Struct, frozen=True, kw_only=True):
    """A guard that compares users."""

    id: str
    metric: str
    kind: str
    action: str
    margin: float
    slower_than_ms: float | None
    control_p95_ms: float | None = None
    verdict: str
    treatment: Arm
    control: Arm
    ratio: float | None
    e_value: float
    threshold: float
    of_nobody: int
    found: str
    looks: tuple[Look, ...] = ()


class Check(Struct, frozen=True, kw_only=True):
    """A guard that asks Prometheus."""

    id: str
    query: str
    max: float | None
    min: float | None
    action: str
    verdict: str
    value: float | None
    beyond: int
    unmeasured: int


class Step(Struct, frozen=True, kw_only=True):
    """A step of a plan."""

    percentage: float
    hold_seconds: float
    needs_approval: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """What a ramp is to do."""

    steps: tuple[Step, ...]
    bake_seconds: float
    alpha: float


class Ramp(Struct, frozen=True, kw_only=True):
    """One of them. ``step`` counts from 1."""

    id: str
    environment: str
    flag: str
    status: str
    why: str
    step: int
    percentage: float
    began: datetime
    earliest: datetime | None
    needs_approval: bool
    is_approved: bool
    plan: Plan
    guards: tuple[Guard, ...] = ()
    prometheus: tuple[Check, ...] = ()
    revision: int
    acknowledged: dict[str, Any] | None = None
    created_at: datetime
    created_by: str
    reason: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER

    @property
    def place(self) -> str:
        """Where it is: ``step 2 of 4, 10 %``."""
        return f"step {self.step} of {len(self.plan.steps)}, {format_percentage(self.percentage)}"


Document: TypeAlias = Mapping[str, Any]

_ENDS: Final = {
    "released": "is released: {share} of users have it",
    "rolled_back": "is ROLLED BACK, from {place}",
    "aborted": "is in no ramp any more: it was aborted at {place}",
}
_GOING: Final = {
    "running": "is in {place}",
    "paused": "is PAUSED in {place}",
    "held": "is HELD in {place}",
    "baking": "is at {share}, all steps are done, and guards go on watching",
}


def state_sentence(ramp: Ramp) -> str:
    """How it stands, as what there is to say of its flag."""
    known = (_ENDS | _GOING).get(ramp.status, f"is {ramp.status}, in {{place}}")
    return known.format(place=ramp.place, share=format_percentage(ramp.percentage))


def odds(e_value: float) -> str:
    """Evidence, as odds.

    >>> odds(39.999), odds(8.13), odds(0.2), odds(4e9)
    ('40:1', '8.1:1', '0.2:1', 'over 1,000,000:1')
    """
    if e_value > _MANY:
        return f"over {_MANY:,}:1"
    return f"{e_value:,.0f}:1" if e_value >= 9.95 or math.isclose(e_value, round(e_value)) else f"{e_value:.1f}:1"


def promise(alpha: float) -> str:
    """What alpha means.

    >>> promise(0.05)
    'at most 1 healthy ramp in 20 is turned back'
    """
    # Rounded down, so that it stays true.
    return f"at most 1 healthy ramp in {math.floor(1 / alpha + 1e-9):,} is turned back"
