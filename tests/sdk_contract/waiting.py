"""Waiting for a condition with a deadline, which is the only way in which these tests let time pass."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 20.0
"""Seconds after which a condition counts as never met: far more than needed, because machines can be busy."""

Result = TypeVar("Result")


def eventually(condition: Callable[[], Result], what: str = "", within: float = PATIENCE) -> Result:
    """Return the first true answer of ``condition``; fail with ``what`` was awaited when there is none in
    time."""
    deadline = time.monotonic() + within
    pause = 0.002
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not met within {within} s: {what or condition}; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def stays(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Fail if the condition stops being true before the time is up: for things that must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer so: {what}"
        time.sleep(0.01)
