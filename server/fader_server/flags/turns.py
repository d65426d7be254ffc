"""Long work on the event loop that leaves everybody else as much time as it takes.

A request to switch a flag goes through the loop a dozen times. If there were a millisecond of work between any two of
these, it would be felt; if every other millisecond is free, it takes at most twice as long as alone.
"""

import asyncio
import time
from typing import Final

_TURN: Final = 0.001
"""Seconds of work after which others have their turn. Timers know no shorter ones."""


class Turns:
    """One piece of long work. Its steps should be much shorter than a millisecond, or about one."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def give_way(self) -> None:
        """Called after every step: let others have their turn if this one has lasted long enough."""
        worked = time.perf_counter() - self._began
        if worked >= _TURN:
            await asyncio.sleep(worked)
            self._began = time.perf_counter()
