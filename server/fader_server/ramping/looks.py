"""Keeps, for the picture that people are shown, how the evidence of each guard has grown."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from fader_server.ramps.progress import Progress
from fader_server.storage import Store, ramps
from fader_server.storage.records import Ramp, RampLook

_EVERY: Final = timedelta(seconds=5)
_WITHOUT_NEWS: Final = timedelta(minutes=1)
_LARGE_STEP: Final = 0.5
"""A change of the evidence's logarithm that is kept at once."""


class _Kept(Struct, frozen=True):
    number: int
    at: datetime
    counted: tuple[int, int, int, int]
    log_e: float


class Looks:
    """What was kept last, of each guard of each ramp.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._known: set[str] = set()

    async def worth_keeping(self, ramp: Ramp, progress: Progress) -> list[RampLook]:
        """What is worth writing down.

        Args:
            ramp: As it was before it was looked at.
            progress: As the look has left it.
        """
        if ramp.id not in self._known:
            await self._recall(ramp.id)
        return [row for guard in progress.guards if (row := self._row(ramp.id, progress, guard)) is not None]

    def kept(self, looks: Sequence[RampLook]) -> None:
        """These have been written down."""
        for look in looks:
            counted = (look.exposed, look.failed, look.others, look.others_failed)
            self._kept[look.ramp, look.guard] = _Kept(look.number, look.at, counted, look.log_e)

    def forget(self, ramp_id: str) -> None:
        """A ramp is over, or has been moved by another server."""
        self._known.discard(ramp_id)
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] != ramp_id}

    async def _recall(self, ramp_id: str) -> None:
        """Go on from where another server has left off."""
        async with self._store.read() as connection:
            self.kept(await ramps.looks(connection, ramp_id))
        self._known.add(ramp_id)

    def _row(self, ramp_id: str, progress: Progress, guard: str) -> RampLook | None:
        evidence = progress.guards[guard].evidence
        treatment, control = evidence.treatment, evidence.control
        counted = (treatment.exposed, treatment.failed, control.exposed, control.failed)
        now, log_e = progress.looked, evidence.log_e
        last = self._kept.get((ramp_id, guard))
        if last is not None and not progress.is_over:
            pause = _EVERY if counted != last.counted else _WITHOUT_NEWS
            if now - last.at < pause and abs(log_e - last.log_e) < _LARGE_STEP:
                return None
        exposed, failed, others, others_failed = counted
        return RampLook(
            ramp=ramp_id,
            guard=guard,
            number=1 if last is None else last.number + 1,
            step=progress.step,
            at=now,
            exposed=exposed,
            failed=failed,
            others=others,
            others_failed=others_failed,
            log_e=log_e,
        )
