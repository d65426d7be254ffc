"""What a ramp is to do, from what people write on a command line to what the admin API takes."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from fader_cli.errors import usage_error
from fader_cli.percentages import format_percentage, parse_percentage
from fader_cli.times import parse_time

ACTIONS: Final = ("rollback", "hold", "notify")

_GUARD: Final = "METRIC[:latency[=800ms]][:margin=10%][:hold|notify]"
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._~-]+")
_LONGEST_ID: Final = 100


class Step(Struct, frozen=True):
    """A share of users in percent, and how many seconds to stay there, if that was said of this step."""

    percentage: float
    hold_seconds: float | None = None


class Guard(Struct, frozen=True, kw_only=True):
    """What is compared, and what becomes of a ramp that is worse."""

    metric: str
    kind: str = "failures"
    slower_than_ms: float | None = None
    margin: float = 0.0
    action: str = "rollback"


class Prometheus(Struct, frozen=True, kw_only=True):
    """A query of one value, and its limits."""

    query: str
    max: float | None = None
    min: float | None = None


class Wishes(Struct, frozen=True, kw_only=True):
    """What options have said of a ramp. What is ``None`` is left to the server."""

    steps: Sequence[Step]
    every_seconds: float | None = None
    bake_seconds: float | None = None
    users: int | None = None
    guards: Sequence[Guard] = ()
    prometheus: Prometheus | None = None
    alpha: float | None = None
    approve: Sequence[float] = ()
    rule: str | None = None
    no_data: str | None = None
    sample_ratio: str | None = None
    deadline: datetime | None = None
    at_deadline: str | None = None


def parse_steps(text: str) -> tuple[Step, ...]:
    """Read ``1%,10%,50%,100%``, or with times of their own ``1%:1h,10%:30m,100%``.

    Raises:
        ValueError: saying what is wrong and how to write it.

    >>> parse_steps("1%, 100%:1h")
    (Step(percentage=1.0, hold_seconds=None), Step(percentage=100.0, hold_seconds=3600.0))
    """
    steps = []
    for part in text.split(","):
        percentage, colon, hold = part.partition(":")
        try:
            steps.append(Step(parse_percentage(percentage), parse_time(hold) if colon else None))
        except ValueError as error:
            raise ValueError(f"{error}; steps are like 1%,10%,50%,100% or 1%:1h,100%") from None
    return tuple(steps)


def parse_guard(text: str) -> Guard:
    """Read ``checkout``, ``checkout:latency``, ``checkout:latency=800ms:margin=10%:hold``.

    Raises:
        ValueError: saying what is wrong and how to write it.

    >>> parse_guard("checkout:margin=10%:hold")
    Guard(metric='checkout', kind='failures', slower_than_ms=None, margin=0.1, action='hold')
    """
    metric, *parts = text.split(":")
    said: dict[str, Any] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name == "latency":
            said["kind"] = "latency"
            said |= {"slower_than_ms": 1000 * parse_time(value)} if value else {}
        elif name == "margin" and value:
            said["margin"] = parse_percentage(value) / 100
        elif part in ACTIONS:
            said["action"] = part
        else:
            raise ValueError(f"{part!r} says nothing about a guard: write it like {_GUARD}")
    if not metric.strip():
        raise ValueError(f"the metric is missing: write it like {_GUARD}")
    return Guard(metric=metric.strip(), **said)


def plan_document(wishes: Wishes) -> dict[str, Any]:
    """All of it, as the admin API takes it.

    Raises:
        CliError: if an approval is asked for where there is nothing to approve of.
    """
    document: dict[str, Any] = {
        "steps": _steps(wishes),
        "guards": [
            {name: getattr(guard, name) for name in guard.__struct_fields__} | {"id": name_of_it}
            for guard, name_of_it in zip(wishes.guards, _ids(wishes.guards), strict=True)
        ],
    }
    if wishes.prometheus is not None:
        asked = wishes.prometheus
        document["prometheus"] = [{"id": "prometheus", "query": asked.query, "max": asked.max, "min": asked.min}]
    given = {
        "bake_seconds": wishes.bake_seconds,
        "alpha": wishes.alpha,
        "rule": wishes.rule,
        "no_data": wishes.no_data,
        "sample_ratio": wishes.sample_ratio,
        "deadline": None if wishes.deadline is None else wishes.deadline.isoformat(),
        "at_deadline": wishes.at_deadline,
    }
    return document | {name: value for name, value in given.items() if value is not None}


def _steps(wishes: Wishes) -> list[dict[str, Any]]:
    after = _approved_after(wishes.steps, wishes.approve)
    steps = []
    for position, step in enumerate(wishes.steps):
        hold = wishes.every_seconds if step.hold_seconds is None else step.hold_seconds
        said = {"percentage": step.percentage, "hold_seconds": hold, "least_exposed": wishes.users}
        document = {name: value for name, value in said.items() if value is not None}
        steps.append(document | ({"needs_approval": True} if position in after else {}))
    return steps


def _approved_after(steps: Sequence[Step], approve: Iterable[float]) -> set[int]:
    """The steps that end only when somebody approves: people say where to, the server is told where from."""
    shares = [step.percentage for step in steps]
    for percentage in approve:
        if percentage not in shares:
            have = ", ".join(map(format_percentage, shares))
            raise usage_error(
                f"there is no step of {format_percentage(percentage)} to approve of", f"there are: {have}"
            )
        if percentage == shares[0]:
            raise usage_error("the first step is approved of by starting it", "name a later one with --approve")
    return {shares.index(percentage) - 1 for percentage in approve}


def _ids(guards: Iterable[Guard]) -> list[str]:
    """What guards are called in their ramp: by their metrics, and by what else is needed to tell them apart."""
    taken: list[str] = []
    for guard in guards:
        name = _NOT_IN_KEYS.sub("-", guard.metric)[:_LONGEST_ID]
        name += "-latency" if guard.kind == "latency" else ""
        number = 1
        while (numbered := name if number == 1 else f"{name}-{number}") in taken:
            number += 1
        taken.append(numbered)
    return taken
