"""A process of an application: several SDK clients, whose every answer is written down.

Each client is sampled by turns all the time, as requests of an application would do it, and once more for each change
that it tells of.
"""

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from fader import Client, Context
from fader.config import Timing
from faults.contexts import draw_context
from faults.history import Reached, Recorder, Sample
from faults.programs.assignment import Assignment, Waypoint, read_assignment, waypoints

PAUSE = 0.01
"""Seconds between samples."""

TIMING = Timing(
    connect=2.0, first_byte=3.0, event=10.0, backoff_first=0.2, backoff_longest=2.0, healthy=5.0, stream_again=4.0,
    usage_flush=2.0, close=10.0,
)  # fmt: skip
"""As much faster than in production as the faults are shorter. What follows on a refused key is as slow as ever: it
must not happen. And closing may take its time, for the last counts are looked at."""

ONE_POLLS_OF = 5
"""Clients; all others have streams."""


class Sampled:
    """One client, and how its answers are recorded."""

    def __init__(self, assignment: Assignment, number: int, recorder: Recorder) -> None:
        environments = sorted(assignment.keys)
        self.environment = environments[number % len(environments)]
        self.name = f"{assignment.name}-{number}.{assignment.life}"
        self._flags = assignment.flags
        self._recorder = recorder
        self._rng = random.Random(f"{assignment.seed} {self.name}")
        self.client = Client(
            url=assignment.urls[number % len(assignment.urls)],
            sdk_key=assignment.keys[self.environment],
            app=self.name,
            cache_dir=Path(assignment.folder, f"{assignment.name}-{number}"),
            streaming=number % ONE_POLLS_OF != ONE_POLLS_OF - 1,
            poll_interval=1.0,
            _timing=TIMING,
        )
        self.client.on_change(self._changed)

    def take(self) -> None:
        """Ask for some flag."""
        self._sample(self._rng.choice(self._flags), self._rng, "")

    def _changed(self, keys: frozenset[str]) -> None:
        # On the client's thread, so it is another observer with an order of its own, and has its own random numbers.
        rng = random.Random(repr(sorted(keys)))
        for key in sorted(keys)[:2]:
            self._sample(key, rng, "/changes")

    def _sample(self, flag: str, rng: random.Random, observer: str) -> None:
        context = draw_context(rng)
        attributes = {name: value for name, value in context.items() if name != "targeting_key"}
        found = self.client.evaluate(flag, Context(context["targeting_key"], **attributes))
        if found.revision == 0:
            return  # there are no flags yet
        self._recorder.record(
            Sample(
                client=f"{self.name}{observer}",
                environment=self.environment,
                at=time.monotonic(),
                revision=found.revision,
                flag=flag,
                context=context,
                variant=found.variant,
                enabled=found.enabled,
                value=found.value,
                reason=str(found.reason),
                error=None if found.error_code is None else str(found.error_code),
            )
        )


def main() -> None:
    assignment = read_assignment()
    recorder = Recorder(Path(assignment.history))
    sampled = [Sampled(assignment, number, recorder) for number in range(assignment.followers)]
    enough = threading.Event()

    def ask_for_flags() -> None:
        rng = random.Random(assignment.seed)
        while not enough.wait(PAUSE):
            rng.choice(sampled).take()

    application = threading.Thread(target=ask_for_flags)
    application.start()
    for waypoint in waypoints():
        _arrive(sampled, waypoint, recorder)
    enough.set()
    application.join()
    for one in sampled:
        one.client.close()


def _arrive(sampled: Sequence[Sampled], waypoint: Waypoint, recorder: Recorder) -> None:
    until = time.monotonic() + waypoint.patience
    late = sampled
    while late and time.monotonic() < until:
        late = [one for one in late if (one.client.revision or 0) < waypoint.revisions[one.environment]]
        time.sleep(PAUSE)
    for one in sampled:
        status = one.client.status
        recorder.record(
            Reached(
                follower=one.name,
                environment=one.environment,
                at=time.monotonic(),
                wanted=waypoint.revisions[one.environment],
                revision=status.revision or 0,
                detail=f"{status.state} by {status.transport}; {status.last_error}",
            )
        )


if __name__ == "__main__":
    main()
