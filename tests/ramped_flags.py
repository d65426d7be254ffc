"""Flags that are in ramps, on a running server."""

import itertools
from collections.abc import Callable
from typing import Any

from processes import ServerProcess, wait_for

Step = dict[str, Any]
_numbers = itertools.count()


def step(percentage: float, seconds: float = 0.5, exposed: int = 10) -> Step:
    return {"percentage": percentage, "hold_seconds": seconds, "least_exposed": exposed}


def path(flag: str, verb: str = "") -> str:
    return f"/projects/default/flags/{flag}/environments/production/ramp{verb}"


def begun(
    server: ServerProcess, *steps: Step, guards: tuple[str | dict[str, Any], ...] = ("checkout",), **plan: Any
) -> str:
    """A flag that is in a ramp; guards are of metrics, or whole."""
    flag = f"flag-{next(_numbers)}"
    server.admin.create_flag(flag)
    watching = [{"id": guard, "metric": guard} if isinstance(guard, str) else guard for guard in guards]
    server.admin.ok("POST", path(flag), {"steps": steps, "guards": watching, "bake_seconds": 0} | plan)
    return flag


def ramp(server: ServerProcess, flag: str) -> dict[str, Any]:
    found: dict[str, Any] = server.admin.ok("GET", path(flag))
    return found


def until(server: ServerProcess, flag: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The ramp, once this holds."""

    def found() -> dict[str, Any] | None:
        now = ramp(server, flag)
        return now if holds(now) else None

    result: dict[str, Any] = wait_for(found, "the ramp to get there")
    return result
