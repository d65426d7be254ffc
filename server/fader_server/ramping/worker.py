"""What the leading server does while ramps are under way: each second it looks at each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct

from fader_server.bus import Message, RevisionHint
from fader_server.errors import Conflict, FaderError, NotFound, Unavailable
from fader_server.flags.ramped import MovedMeanwhile
from fader_server.logs import logger
from fader_server.ramping.leader import Leader
from fader_server.ramping.looks import Looks
from fader_server.ramping.service import LeadershipLostError, RampService
from fader_server.ramps.moves import Move
from fader_server.ramps.progress import Counted
from fader_server.storage import Store, ramps
from fader_server.storage.records import Ramp

_log = logger(__name__)

_LOOK_SECONDS: Final = 1.0
"""Between two looks while there are ramps."""

_IDLE_SECONDS: Final = 10.0
"""Until the database is asked whether there are any, although nobody has told of one."""


class Counts(Protocol):
    """Where it is known what applications have recorded."""

    async def of(self, ramp: Ramp) -> Mapping[str, Counted]:
        """What the guards of a ramp have counted in its present step, by their ids."""


class Questions(Protocol):
    """Asks Prometheus."""

    async def answers(self, ramp: Ramp) -> Mapping[str, float | None]:
        """What it has answered since this was asked last, by guards' ids; ``None`` where it could not."""


class Unasked(Struct, frozen=True):
    """Where there is no Prometheus."""

    async def answers(self, ramp: Ramp) -> Mapping[str, float | None]:
        """Nothing could be measured."""
        return dict.fromkeys(guard.id for guard in ramp.plan.prometheus)


class Worker:
    """Moves ramps, while this server leads.

    Args:
        store: Where ramps are.
        service: Carries moves out.
        leader: Whether this server may.
        counts: What guards see.
        questions: What Prometheus says.
        told: Called with each ramp that has moved, and how.
    """

    def __init__(
        self,
        store: Store,
        service: RampService,
        leader: Leader,
        counts: Counts,
        questions: Questions,
        told: Callable[[Ramp, Move], Awaitable[None]],
    ) -> None:
        self._store = store
        self._service = service
        self._leader = leader
        self._counts = counts
        self._questions = questions
        self._told = told
        self._looks = Looks(store)
        self._waking = asyncio.Event()
        self._faults: dict[str, str] = {}
        self._looked_at = ""

    async def listen(self, messages: AsyncIterator[Message]) -> None:
        """Be woken by changes: one of them may be the beginning of a ramp."""
        async for message in messages:
            if isinstance(message, RevisionHint):
                self._waking.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                is_busy = await self.round()
                if not is_busy:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_IDLE_SECONDS):
                            await self._waking.wait()
                # Also after a wake: most changes begin no ramp, and whoever made one is answered first.
                await asyncio.sleep(_LOOK_SECONDS)
                self._waking.clear()
        finally:
            await asyncio.shield(self._leader.resign())

    async def round(self) -> bool:
        """Look at all ramps once.

        Returns:
            Whether there are any.
        """
        try:
            async with self._store.read() as connection:
                found = await ramps.under_way(connection)
        except Unavailable:
            return True  # there may be
        if not found:
            await self._leader.resign()
            return False
        if await self._leader.claim():
            self._faults = {ramp.id: self._faults[ramp.id] for ramp in found if ramp.id in self._faults}
            for ramp in self._in_turn(found):
                # A round may take longer than a lease lasts; who has lost it goes no further, and the next one, here or
                # elsewhere, begins where this one has come to.
                if not await self._leader.claim():
                    break
                self._looked_at = ramp.id
                try:
                    await self._look(ramp)
                except Exception as fault:  # noqa: BLE001 (the others are looked at, whatever is wrong with this one)
                    self._ail(ramp, fault)
                else:
                    self._faults.pop(ramp.id, None)
        return True

    def _in_turn(self, found: list[Ramp]) -> list[Ramp]:
        """All of them, first the one after that which was looked at last."""
        ids = [ramp.id for ramp in found]
        first = ids.index(self._looked_at) + 1 if self._looked_at in ids else 0
        return found[first:] + found[:first]

    def _ail(self, ramp: Ramp, fault: Exception) -> None:
        """A ramp cannot be looked at. Each look tries again, and what happens again and again is told once."""
        if self._faults.get(ramp.id) == repr(fault):
            return
        self._faults[ramp.id] = repr(fault)
        about = {"flag": ramp.flag, "environment": ramp.environment}
        if isinstance(fault, FaderError):
            _log.error("a ramp cannot go on", why=fault.detail, **about)
        else:
            _log.error("a ramp cannot be looked at", exc_info=fault, **about)

    async def _look(self, ramp: Ramp) -> None:
        try:
            counted, asked = await self._counts.of(ramp), await self._questions.answers(ramp)
            after, move = await self._service.look(ramp, counted, asked, self._leader.name, self._looks)
        except (LeadershipLostError, MovedMeanwhile, Unavailable):
            self._looks.forget(ramp.id)  # somebody else has done something, or nobody can; the next look sees it
        except (NotFound, Conflict):
            with suppress(LeadershipLostError):
                await self._service.end_lost(ramp, self._leader.name)
        else:
            if after.is_over:
                self._looks.forget(ramp.id)
            if move.tell:
                await self._told(after, move)
