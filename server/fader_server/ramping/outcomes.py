"""What applications report of users where guards watch: gathered at each server, merged in the database."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from fader.outcomes import Arm as Recorded
from fader.outcomes import OutcomeReport, Outcomes
from fader_server.errors import FaderError
from fader_server.logs import logger
from fader_server.ramps.evidence import Arm
from fader_server.ramps.progress import Counted, step_number
from fader_server.storage import Store, ramps
from fader_server.storage.records import Ramp, RampOutcomes

_log = logger(__name__)

_MERGE_SECONDS: Final = 1.0
"""Between two merges: a thousand processes that report every few seconds become one write a second."""

_MOST_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Of what may wait while the database is away. What comes beyond that is lost: an SDK tells of each visit once. Users
of both sides are missing then, and those who come again are told of again."""

_PARTING_SECONDS: Final = 2.0
"""How long the last merge of a server that ends may take."""

_LEAST_BYTES: Final = 1024
"""That anything that waits is taken to need, however small its sketches are."""

_USUAL: Final = 0.95
_LEAST_TO_TELL_BY: Final = 20
"""Durations without which it cannot be told what nineteen of twenty are."""

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Outcomes)


class _Place(Struct, frozen=True):
    project: str
    environment: str
    ramp: str
    step: int

    def is_of(self, ramp: Ramp) -> bool:
        """Whether a ramp is in this step, in this environment: a key opens one, and reports may be late."""
        here = (ramp.project, ramp.environment, step_number(ramp.plan, ramp.progress))
        return here == (self.project, self.environment, self.step)


class _Waiting(Struct, frozen=True):
    report: str
    guard: str
    outcomes: Outcomes

    @property
    def size(self) -> int:
        """About how many bytes it needs."""
        arms = (self.outcomes.treatment, self.outcomes.control)
        return _LEAST_BYTES + sum(len(arm.exposed) + len(arm.failed) for arm in arms)


class Reports:
    """All reports that one server gets.

    Args:
        store: Where they are merged.
        clock: The time, aware.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[_Place, list[_Waiting]] = defaultdict(list)
        self._size = 0

    @property
    def waiting_bytes(self) -> int:
        """About how much has come that is not merged yet."""
        return self._size

    def take(self, project: str, environment: str, report: OutcomeReport) -> None:
        """Take in what one process reports. What is not about the present step of a ramp of this environment is of no
        interest any more, and is left out when it is merged.

        Raises:
            ValueError: if what should be a sketch is none; it names the guard.
        """
        found: list[tuple[_Place, _Waiting]] = []
        for guard_id, outcomes in report.guards.items():
            ramp, _, rest = guard_id.partition(".")
            step, _, guard = rest.partition(".")
            try:
                outcomes = Outcomes().merged(outcomes)
            except ValueError as error:
                raise ValueError(f"{guard_id}: {error}") from error
            if guard and step.isascii() and step.isdigit() and len(step) <= 6:
                place = _Place(project, environment, ramp, int(step))
                found.append((place, _Waiting(report.id, guard, outcomes)))
        for place, waiting in found:
            if self._size + waiting.size <= _MOST_WAITING_BYTES:
                self._waiting[place].append(waiting)
                self._size += waiting.size

    async def run(self) -> None:
        """Merge what has come, until cancelled; and then once more, for SDKs do not tell again of what was accepted."""
        try:
            while True:
                await asyncio.sleep(_MERGE_SECONDS)
                await self.merge()
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PARTING_SECONDS):
                    await self.merge()
            raise

    async def merge(self) -> None:
        """Merge what has come. While the database is away, it waits."""
        for place in list(self._waiting):
            waiting = self._waiting.pop(place)
            size = sum(one.size for one in waiting)
            self._size -= size
            try:
                await self._merge(place, waiting)
            except (FaderError, asyncio.CancelledError) as error:
                # What was cancelled may have been committed: merging it again changes nothing.
                self._waiting[place] = waiting + self._waiting.get(place, [])
                self._size += size
                if isinstance(error, asyncio.CancelledError):
                    raise
                _log.debug("what guards see cannot be kept now; trying again")
                return

    async def _merge(self, place: _Place, waiting: list[_Waiting]) -> None:
        now = self._clock()
        async with self._store.write() as connection:
            ramp = await ramps.ramp(connection, place.ramp)
            if ramp is None or ramp.is_over or not place.is_of(ramp):
                return
            fresh = await ramps.fresh_reports(connection, ramp.id, (one.report for one in waiting), now)
            by_guard: dict[str, Outcomes] = {}
            added: set[tuple[str, str]] = set()
            for one in waiting:
                is_new = one.report in fresh and (one.report, one.guard) not in added
                added.add((one.report, one.guard))
                outcomes = one.outcomes if is_new else _users_only(one.outcomes)
                by_guard[one.guard] = by_guard.get(one.guard, Outcomes()).merged(outcomes)
            for guard in sorted(by_guard.keys() & {guard.id for guard in ramp.plan.guards}):
                kept = await ramps.locked_outcomes(connection, ramp.id, place.step, guard, now)
                merged = by_guard[guard] if kept is None else _decoder.decode(kept.outcomes).merged(by_guard[guard])
                row = RampOutcomes(ramp=ramp.id, step=place.step, guard=guard, outcomes=_encoder.encode(merged))
                await ramps.put_outcomes(connection, row, now)

    async def of(self, ramp: Ramp) -> Mapping[str, Counted]:
        """What the guards of a ramp have counted in its present step, at all servers, by their ids."""
        async with self._store.read() as connection:
            found = await ramps.outcomes(connection, ramp.id, step_number(ramp.plan, ramp.progress))
        return {one.guard: _counted(_decoder.decode(one.outcomes)) for one in found if one.outcomes}


def _counted(outcomes: Outcomes) -> Counted:
    exposed, failed = outcomes.treatment.counts()
    others, others_failed = outcomes.control.counts()
    return Counted(
        treatment=Arm(exposed=exposed, failed=failed),
        control=Arm(exposed=others, failed=others_failed),
        of_nobody=outcomes.of_nobody,
        usual_ms=_usual_ms(outcomes.control),
        treated_ms=_usual_ms(outcomes.treatment),
    )


def _usual_ms(recorded: Recorded) -> float | None:
    return recorded.durations.within(_USUAL) if recorded.durations.count >= _LEAST_TO_TELL_BY else None


def _users_only(outcomes: Outcomes) -> Outcomes:
    """A report that has come before: its users are the same, and what adds up must not be added again."""
    return Outcomes(treatment=outcomes.treatment.users_only(), control=outcomes.control.users_only())
