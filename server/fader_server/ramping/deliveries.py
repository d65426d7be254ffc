"""Sends notices from the outbox to those who want them: by one server at a time, again and again for a day.

A notice is claimed before it is sent, so whoever loses the lease in the middle of it does not send it at the same time
as its successor. One that was sent, and could not be marked as delivered, is sent again: with the same id, by which
whoever gets it knows it again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec

from fader.backoff import retry_after
from fader_server.bus import Message, RevisionHint
from fader_server.chores import persistently
from fader_server.errors import Unavailable
from fader_server.logs import logger
from fader_server.outgoing import Outgoing, Unanswered
from fader_server.ramping.destinations import Destination, outgo
from fader_server.ramping.leader import Leader
from fader_server.storage import Store, leases, notices
from fader_server.storage.records import Notice
from fader_server.telemetry.catalogue import NoticeOutcome

_log = logger(__name__)

NOTICES: Final = "notices"
"""The lease of the server that sends them."""

_WITHIN: Final = 10.0
"""Seconds that an answer may take."""

_FIRST: Final = 15.0
"""Seconds until something is tried again: longer than it may take, so that nobody else takes it up meanwhile. Three
times as many each time after that."""

_LONGEST: Final = 3600.0
_GIVEN_UP: Final = timedelta(days=1)
_AT_ONCE: Final = 50
_POLL_SECONDS: Final = 2.0
"""Until the outbox is looked into although nobody has told of a change: some of what is told is none."""


class Deliveries:
    """Sends notices to all destinations, side by side: one that does not answer holds up no other.

    Args:
        store: Where the outbox is.
        outgoing: Sends requests.
        leader: Whether this server may.
        destinations: Whom to.
        secrets: What to sign notices with.
        clock: The time, aware.
        told: Called with what became of each attempt.
    """

    def __init__(
        self,
        store: Store,
        outgoing: Outgoing,
        leader: Leader,
        destinations: Sequence[Destination],
        secrets: Sequence[bytes],
        clock: Callable[[], datetime],
        told: Callable[[NoticeOutcome], None],
    ) -> None:
        self._store = store
        self._outgoing = outgoing
        self._leader = leader
        self._secrets = secrets
        self._clock = clock
        self._told = told
        self._waking = {destination: asyncio.Event() for destination in destinations}
        self._trouble: dict[Destination, str] = {}

    async def listen(self, messages: AsyncIterator[Message]) -> None:
        """Be woken by changes: one of them may be told of."""
        async for message in messages:
            if isinstance(message, RevisionHint):
                for waking in self._waking.values():
                    waking.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            await asyncio.gather(*(persistently(partial(self._serve, destination)) for destination in self._waking))
        finally:
            await asyncio.shield(self._leader.resign())

    async def _serve(self, destination: Destination) -> None:
        waking = self._waking[destination]
        while True:
            waking.clear()
            await self.round(destination)
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await waking.wait()
            except TimeoutError:
                pass

    async def round(self, destination: Destination) -> None:
        """Send what is due to a destination, in order, up to what cannot be sent."""
        try:
            while found := await self._due(destination):
                if not await self._leader.claim():
                    return
                for notice in found:
                    if not await self._deliver(notice, destination):
                        return
        except Unavailable:
            return  # it is all still there when the database is back

    async def _due(self, destination: Destination) -> list[Notice]:
        async with self._store.read() as connection:
            return await notices.due(connection, destination.name, self._clock(), limit=_AT_ONCE)

    async def _deliver(self, notice: Notice, destination: Destination) -> bool:
        now = self._clock()
        if now - notice.created_at >= _GIVEN_UP:
            await self._give_up(notice, destination)
            return True
        if not await self._claim(notice, now):
            return False
        try:
            sent = outgo(bytes(notice.notice), destination, self._secrets, now)
            reply = await self._outgoing.post(destination.url, sent.headers, sent.body, within=_WITHIN)
        except (Unanswered, msgspec.DecodeError) as trouble:
            self._note_trouble(destination, str(trouble))
            return False
        if not 200 <= reply.status < 300:
            self._note_trouble(destination, f"it answered with status {reply.status}")
            wait = retry_after(reply.headers.get("Retry-After"), time.time(), _LONGEST)
            if wait is not None and wait > _pause(notice.attempts + 1):
                async with self._store.write() as connection:
                    await notices.put_off(connection, notice.id, now + timedelta(seconds=wait))
            return False
        self._trouble.pop(destination, None)
        self._told("delivered")
        async with self._store.write() as connection:
            await notices.mark_delivered(connection, notice.id, self._clock())
        return True

    async def _claim(self, notice: Notice, now: datetime) -> bool:
        due_at = now + timedelta(seconds=_pause(notice.attempts + 1))
        async with self._store.write() as connection:
            if not await leases.holds(connection, self._leader.lease, self._leader.name):
                return False
            return await notices.claim(connection, notice, due_at)

    async def _give_up(self, notice: Notice, destination: Destination) -> None:
        async with self._store.write() as connection:
            if not await notices.delete(connection, notice.id):
                return
        self._told("given_up")
        _log.error(
            "a notice was given up",
            host=destination.host,
            notice=bytes(notice.notice).decode(),
            attempts=notice.attempts,
            why=self._trouble.get(destination, "it was not answered for a day"),
        )

    def _note_trouble(self, destination: Destination, why: str) -> None:
        self._told("failed")
        if self._trouble.get(destination) != why:  # once is enough for what happens again and again
            self._trouble[destination] = why
            _log.warning("a notice could not be delivered; it is tried again", host=destination.host, why=why)


def _pause(attempts: int) -> float:
    """Seconds after so many attempts."""
    return float(min(_FIRST * 3 ** min(attempts - 1, 10), _LONGEST))
