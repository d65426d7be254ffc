"""Who breaks things: a schedule drawn from a seed, and the threads that carry it out."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from faults.history import Fault, Recorder


class Planned(Struct, frozen=True, kw_only=True):
    """A fault that is to be.

    Args:
        at: Seconds from the beginning of the trouble.
        seconds: How long it lasts.
        target: What is broken; faults of one target follow on each other, those of several overlap.
        kind: How.
        strength: From 0 to 1, for kinds of which there can be more or less.
    """

    at: float
    seconds: float
    target: str
    kind: str
    strength: float

    def __str__(self) -> str:
        return f"{self.at:6.2f} s  {self.kind} {self.target} for {self.seconds:.2f} s (strength {self.strength:.2f})"


Breaking: TypeAlias = Callable[[Planned], Callable[[], None]]
"""Breaks something, and returns what mends it."""

_LONGEST: Final[dict[str, float]] = {
    "cut": 0.0,
    "terminate the connections of": 0.0,
    "refuse": 2.0,
    "swallow": 3.5,
    "delay": 4.0,
    "pause": 4.5,
    "kill": 1.5,
    "stop": 1.5,
}
"""Seconds, by kind."""


_MOST_LATE: Final = 1.0
"""Seconds after its planned end until which a fault is still worth while: where mending takes long, on a machine that
has much else to do, what was planned for meanwhile is left out, so that the whole does not last much longer."""


def draw_schedule(
    rng: random.Random, kinds: Mapping[str, Sequence[str]], seconds: float, faults_per_second: float
) -> list[Planned]:
    """Draw faults.

    Args:
        rng: Seeded, so that the same seed gives the same schedule.
        kinds: By target, what can be done to it.
        seconds: How long the trouble lasts; all faults end by then.
        faults_per_second: How many begin in a second, on average.
    """
    planned: list[Planned] = []
    busy_until: dict[str, float] = defaultdict(float)
    at = 0.0
    while (at := at + rng.expovariate(faults_per_second)) < seconds:
        target = rng.choice(sorted(kinds))
        kind = rng.choice(kinds[target])
        lasting = min(rng.uniform(0.1, 1.0) * _LONGEST[kind], seconds - at)
        strength = rng.random()
        if at < busy_until[target]:
            continue
        busy_until[target] = at + lasting
        planned.append(Planned(at=at, seconds=lasting, target=target, kind=kind, strength=strength))
    return planned


class Nemesis:
    """Carries a schedule out, with a thread for each target.

    Args:
        schedule: What to do.
        break_: How it is done.
        recorder: Where to write down when it was done.
    """

    def __init__(self, schedule: Sequence[Planned], break_: Breaking, recorder: Recorder) -> None:
        targets: dict[str, list[Planned]] = defaultdict(list)
        for planned in schedule:
            targets[planned.target].append(planned)
        self._break = break_
        self._recorder = recorder
        self._began = 0.0
        self._threads = [
            threading.Thread(target=self._trouble, args=(planned,), name=target) for target, planned in targets.items()
        ]
        self.failures: list[BaseException] = []
        """What went wrong in breaking and mending; nothing should."""

    def run(self) -> None:
        """All of it. When this returns, everything is mended."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _trouble(self, schedule: Sequence[Planned]) -> None:
        try:
            for planned in schedule:
                if time.monotonic() - self._began > planned.at + planned.seconds + _MOST_LATE:
                    continue
                self._wait_until(planned.at)
                began = time.monotonic()
                mend = self._break(planned)
                self._wait_until(began - self._began + planned.seconds)
                mend()
                what = f"{planned.kind} {planned.target}"
                self._recorder.record(Fault(what=what, began=began, ended=time.monotonic()))
        except BaseException as failure:  # noqa: BLE001 (the test reports it)
            self.failures.append(failure)

    def _wait_until(self, moment: float) -> None:
        time.sleep(max(0.0, self._began + moment - time.monotonic()))
