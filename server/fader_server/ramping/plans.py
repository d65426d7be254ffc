"""Is this a plan that can be carried out? Everything about it that can be known before it starts."""

import math
from datetime import datetime
from itertools import pairwise
from typing import Final

from fader_server.flags.findings import Findings
from fader_server.flags.limits import Limits
from fader_server.flags.validation import check_percentage
from fader_server.ramping.preview import Traffic
from fader_server.ramps.plan import GuardPlan, Plan, PrometheusGuard

_MOST_STEPS: Final = 50
_MOST_GUARDS: Final = 20
_LONGEST_SECONDS: Final = 90 * 86_400.0
_LARGEST_ALPHA: Final = 0.5
_LARGEST_MARGIN: Final = 10.0
_MOST_USERS_PER_HOUR: Final = 1_000_000_000
_MOST_EXPOSED: Final = 10**9
_QUERY_LENGTH: Final = 4_000


def check_plan(plan: Plan, limits: Limits, now: datetime, *, has_prometheus: bool, findings: Findings) -> None:
    """Report everything that is wrong with a plan.

    Args:
        plan: What is wanted.
        limits: How much of everything.
        now: The time.
        has_prometheus: Whether this server knows one that it can ask.
        findings: Where to.
    """
    _check_steps(plan, findings)
    _check_seconds("bake_seconds", plan.bake_seconds, findings)
    if not 0 < plan.alpha <= _LARGEST_ALPHA:
        findings.add("alpha", f"is not above 0 and at most {_LARGEST_ALPHA:g}", "0.05 turns back 1 healthy ramp in 20.")
    if findings.check_count("guards", plan.guards, _MOST_GUARDS):
        for position, guard in enumerate(plan.guards):
            _check_guard(f"guards[{position}]", guard, limits, findings)
    if findings.check_count("prometheus", plan.prometheus, _MOST_GUARDS):
        for position, one in enumerate(plan.prometheus):
            _check_prometheus(f"prometheus[{position}]", one, findings)
        if plan.prometheus and not has_prometheus:
            findings.add("prometheus", "needs a Prometheus to ask", "Start the server with FADER_PROMETHEUS_URL.")
    findings.check_distinct("guards", [guard.id for guard in plan.guards])
    findings.check_distinct("prometheus", [guard.id for guard in plan.prometheus])
    if plan.deadline is not None and plan.deadline.tzinfo is None:
        findings.add("deadline", "has no offset", "Write it in UTC: 2030-01-31T12:00:00Z.")
    elif plan.deadline is not None and plan.deadline <= now:
        findings.add("deadline", "is in the past")


def check_traffic(traffic: Traffic, findings: Findings) -> None:
    """Find what is wrong with what is assumed of users."""
    if not 0 < traffic.users_per_hour <= _MOST_USERS_PER_HOUR:
        findings.add("traffic.users_per_hour", f"is not above 0 and at most {_MOST_USERS_PER_HOUR:,}")
    if not 0 <= traffic.failing <= 1:
        findings.add("traffic.failing", "is not between 0 and 1", "0.01 is one of a hundred.")


def _check_steps(plan: Plan, findings: Findings) -> None:
    if not plan.steps:
        findings.add("steps", "is empty", "Such as 1 %, 10 %, 50 %, 100 %.")
    if not findings.check_count("steps", plan.steps, _MOST_STEPS):
        return
    for position, step in enumerate(plan.steps):
        field = f"steps[{position}]"
        check_percentage(f"{field}.percentage", step.percentage, findings)
        if step.percentage == 0:
            findings.add(f"{field}.percentage", "lets nobody in", "Leave the step out.")
        _check_seconds(f"{field}.hold_seconds", step.hold_seconds, findings)
        if not 0 <= step.least_exposed <= _MOST_EXPOSED:
            findings.add(f"{field}.least_exposed", f"is not between 0 and {_MOST_EXPOSED:,}")
    for position, (before, after) in enumerate(pairwise(plan.steps), start=1):
        if not before.percentage < after.percentage:
            field = f"steps[{position}].percentage"
            findings.add(field, f"is not more than the {before.percentage:g} % before it")


def _check_guard(field: str, guard: GuardPlan, limits: Limits, findings: Findings) -> None:
    findings.check_key(f"{field}.id", guard.id)
    findings.check_text(f"{field}.metric", guard.metric, limits.text, empty=False)
    if not 0 <= guard.margin <= _LARGEST_MARGIN:
        findings.add(f"{field}.margin", f"is not between 0 and {_LARGEST_MARGIN:g}", "0.1 tolerates a tenth more.")
    if guard.slower_than_ms is None:
        return
    if guard.kind != "latency":
        findings.add(f"{field}.slower_than_ms", "is for guards of latency", "Leave it out.")
    elif not 0 < guard.slower_than_ms <= _LONGEST_SECONDS * 1000:
        findings.add(f"{field}.slower_than_ms", "is not a time in milliseconds")


def _check_prometheus(field: str, guard: PrometheusGuard, findings: Findings) -> None:
    findings.check_key(f"{field}.id", guard.id)
    findings.check_text(f"{field}.query", guard.query, _QUERY_LENGTH, lines=True, empty=False)
    limits = [limit for limit in (guard.min, guard.max) if limit is not None]
    if not limits:
        findings.add(field, "has neither max nor min", "Say what is too much, or too little.")
    elif not all(math.isfinite(limit) for limit in limits):
        findings.add(field, "has a limit that is no number")
    elif guard.min is not None and guard.max is not None and guard.min > guard.max:
        findings.add(f"{field}.min", "is more than max")
    if not 1 <= guard.checks <= 100:
        findings.add(f"{field}.checks", "is not between 1 and 100")
    if not 1 <= guard.every_seconds <= 3600:
        findings.add(f"{field}.every_seconds", "is not between 1 and 3600")


def _check_seconds(field: str, seconds: float, findings: Findings) -> None:
    if not 0 <= seconds <= _LONGEST_SECONDS:
        findings.add(field, "is not between 0 and 90 days", "It is in seconds.")
