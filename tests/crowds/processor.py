"""What a program had of the processors: how long it ran, and how long it was kept waiting for one."""

import time
from pathlib import Path
from typing import NamedTuple

_SELF = "thread-self"


class Share(NamedTuple):
    """Of a time, each from 0 to 1.

    Args:
        running: How much of it the program ran. Whoever runs all the time may be what everything else waits for.
        waiting: How much of it the program could have run, and had no processor.
    """

    running: float
    waiting: float


class Taken(NamedTuple):
    """At a moment, all in nanoseconds: the time by the clock that all processes share, and what was had until then."""

    at: int
    running: int
    waiting: int

    @classmethod
    def now(cls, process: int | None = None) -> "Taken":
        """By the main thread of a process, or by the calling thread. Without Linux only the latter is known."""
        at = time.monotonic_ns()
        try:
            running, waiting, _ = Path(f"/proc/{process or _SELF}/schedstat").read_text().split()
        except OSError:
            return cls(at, time.thread_time_ns() if process is None else 0, 0)
        return cls(at, int(running), int(waiting))

    def until(self, later: "Taken") -> Share:
        """What was had from this moment to a later one."""
        passed = max(later.at - self.at, 1)
        return Share((later.running - self.running) / passed, (later.waiting - self.waiting) / passed)
