"""How often healthy releases are turned back, and how soon harmful ones are: ``python -m loadtests.ramp_evidence``.

Ramps of one step are simulated, look by look, with the code that decides in the server. Of the users one in two hundred
fails. The releases: a healthy one; one that meets an incident that hits everybody, with the feature or without; and
three that do harm. Another table counts events where users should be counted: most events come from few users, and who
fails once fails every time.
"""

import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Final, NamedTuple

from fader_server.ramps import moves
from fader_server.ramps.evidence import Arm
from fader_server.ramps.plan import GuardPlan, Plan, Step
from fader_server.ramps.progress import Counted
from loadtests.tables import show, wants_json

RUNS: Final = 2_000
ALPHA: Final = 0.05
LOOK: Final = 500
"""Users, or events, between two looks."""
FAILING: Final = 0.005
INCIDENT: Final = 0.05
USERS: Final = {1.0: 50_000, 10.0: 20_000, 50.0: 10_000}
"""Of a ramp, by its share in percent."""
MOST_TREATED: Final = 100
"""Users with the feature after whom, in the median, a rise to 5 % must have been caught at a share of 1 %."""

_POPULATION: Final = 4_000
_EVENTS: Final = 100_000
_BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Release(NamedTuple):
    """What is brought up.

    Args:
        name: Of the row.
        failing: The share of users who fail with it.
        meets_incident: Whether a quarter of its users meet an incident, as everybody else does then.
    """

    name: str
    failing: float
    meets_incident: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether it should be left alone."""
        return self.failing <= FAILING


RELEASES: Final = (
    Release("healthy", FAILING),
    Release("healthy, incident in both groups", FAILING, meets_incident=True),
    Release("failures doubled, to 1 %", 2 * FAILING),
    Release("failures quadrupled, to 2 %", 4 * FAILING),
    Release("failures tenfold, to 5 %", 10 * FAILING),
)


class Result(NamedTuple):
    """Of many ramps: the share that was turned back, and the median number of users with the feature until then."""

    turned_back: float
    median: float | None


def drawn(count: int, share: float, chance: random.Random) -> int:
    """How many of so many it happens to: binomial, from one that it happens to straight to the next."""
    if not 0 < share < 1:
        return count if share >= 1 else 0
    happened, position, each = 0, 0, math.log1p(-share)
    while True:
        position += int(math.log(1 - chance.random()) / each) + 1
        if position > count:
            return happened
        happened += 1


def users_come(release: Release, percentage: float, chance: random.Random) -> Iterator[Counted]:
    """What has been counted at each look, of users who come once."""
    share, users = percentage / 100, USERS[percentage]
    exposed = failed = others = others_failed = 0
    for seen in range(0, users, LOOK):
        extra = INCIDENT if release.meets_incident and users // 4 <= seen < users // 2 else 0.0
        treated = drawn(LOOK, share, chance)
        exposed += treated
        others += LOOK - treated
        failed += drawn(treated, release.failing + extra, chance)
        others_failed += drawn(LOOK - treated, FAILING + extra, chance)
        yield Counted(treatment=Arm(exposed=exposed, failed=failed), control=Arm(exposed=others, failed=others_failed))


def regulars_come(percentage: float, chance: random.Random, *, as_events: bool) -> Iterator[Counted]:
    """The same of a healthy release, of users who come as often as they like: a hundred of them every other time."""
    users = range(_POPULATION)
    often = list(accumulate(1 / (rank + 1) for rank in users))
    treated = {user for user in users if chance.random() * 100 < percentage}
    failing = {user for user in users if chance.random() < FAILING}
    known: set[int] = set()
    exposed, failed = {True: 0, False: 0}, {True: 0, False: 0}
    for _ in range(_EVENTS // LOOK):
        for user in chance.choices(users, cum_weights=often, k=LOOK):
            if as_events or user not in known:
                known.add(user)
                exposed[user in treated] += 1
                failed[user in treated] += user in failing
        arms = {has_it: Arm(exposed=exposed[has_it], failed=failed[has_it]) for has_it in (True, False)}
        yield Counted(treatment=arms[True], control=arms[False])


def ramp(percentage: float, looks: Iterator[Counted]) -> int | None:
    """One ramp: how many users had the feature when it was turned back, or ``None``."""
    guard = GuardPlan(id="checkout", metric="checkout")
    step = Step(percentage=percentage, hold_seconds=1e9)
    plan = Plan(steps=(step,), guards=(guard,), alpha=ALPHA, sample_ratio="notify")
    now, progress = _BEGAN, moves.begin(plan, _BEGAN).progress
    for counted in looks:
        now += timedelta(seconds=5)
        move = moves.look(plan, progress, {"checkout": counted}, {}, now)
        if move.off:
            return counted.treatment.exposed
        progress = move.progress
    return None


def many(ramped: Callable[[random.Random], int | None], runs: int) -> Result:
    """The same many times, with other luck each time."""
    ends = [ramped(random.Random(seed)) for seed in range(runs)]
    caught = [exposed for exposed in ends if exposed is not None]
    return Result(len(caught) / runs, statistics.median(caught) if caught else None)


def _released(row: int, percentage: float, runs: int) -> Result:
    return many(lambda chance: ramp(percentage, users_come(RELEASES[row], percentage, chance)), runs)


def _regulars(as_events: int, percentage: float, runs: int) -> Result:
    return many(lambda chance: ramp(percentage, regulars_come(percentage, chance, as_events=bool(as_events))), runs)


def main() -> int:
    """Simulate, print both tables, and say whether promises are kept."""
    runs = 200 if "--quick" in sys.argv else RUNS
    shares = list(USERS)
    with ProcessPoolExecutor() as processes:
        places = [(row, share) for row in range(len(RELEASES)) for share in shares]
        found = {place: processes.submit(_released, *place, runs) for place in places}
        counted = {
            (as_events, share): processes.submit(_regulars, as_events, share, max(runs // 4, 100))
            for as_events in (0, 1)
            for share in shares
        }
        results = {place: future.result() for place, future in found.items()}
        by_count = {place: future.result() for place, future in counted.items()}
    heads = ["release", *(f"{share:g} % turned back" for share in shares), *(f"{share:g} % users" for share in shares)]
    rows = [
        [
            release.name,
            *(f"{results[row, share].turned_back:.1%}" for share in shares),
            *("-" if results[row, share].median is None else f"{results[row, share].median:.0f}" for share in shares),
        ]
        for row, release in enumerate(RELEASES)
    ]
    show(
        f"Ramps turned back, of {runs:,}, and users with the feature until then (median)",
        heads,
        rows,
        as_json=wants_json(),
    )
    rows = [
        [name, *(f"{by_count[as_events, share].turned_back:.1%}" for share in shares)]
        for as_events, name in enumerate(("users, once each", "events"))
    ]
    show(
        "Healthy ramps turned back where few users make most events",
        ["counted", *heads[1:4]],
        rows,
        as_json=wants_json(),
    )
    false_alarms = [
        results[row, share].turned_back
        for row, release in enumerate(RELEASES)
        for share in shares
        if release.is_healthy
    ]
    quick = results[len(RELEASES) - 1, 1.0].median
    is_kept = max(false_alarms) <= ALPHA and quick is not None and quick <= MOST_TREATED
    print("kept" if is_kept else "NOT KEPT", f"(at most {ALPHA:.0%} false; {MOST_TREATED} users at 1 %)")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
