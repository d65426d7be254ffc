"""Changes as Server-Sent Events, for consoles and for `fader watch`: few readers, so each reads the log for
itself.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TypeAlias

import msgspec

from fader_server.api.admin.services import AdminServices
from fader_server.api.admin.views import change_view
from fader_server.api.admin.watching import TICK_SECONDS, ClientsWatch
from fader_server.bus import Message, RevisionHint
from fader_server.errors import Unavailable
from fader_server.storage import changes
from fader_server.storage.records import LoggedChange

Wanted: TypeAlias = Callable[[LoggedChange | RevisionHint], bool]

_BATCH = 100
_OPENING = b": follows changes\n\n"
_HEARTBEAT = b": heartbeat\n\n"
_GOODBYE = b"event: goodbye\nretry: 1000\ndata: {}\n\n"


async def followed_changes(
    admin: AdminServices,
    since: int | None,
    wanted: Wanted,
    may_stay: Callable[[], Awaitable[bool]],
    *,
    with_clients: bool = False,
) -> AsyncIterator[bytes]:
    """Changes from now on, or from the one numbered ``since`` on; until the bus is closed.

    Args:
        wanted: whether the reader asked for a change, and may see it.
        may_stay: asked with each heartbeat; a reader whose token has become invalid is sent away.
        with_clients: whether to tell of clients, too.
    """
    watch = ClientsWatch(admin.distributor, admin.gathering) if with_clients else None
    try:
        async with admin.bus.subscribe() as messages:
            # Subscribed first and read then: what happens in between is seen twice, and sent once.
            place = _Place(admin, await _newest_number(admin) if since is None else since)
            yield _OPENING
            if since is not None:
                async for change in place.catch_up():
                    if wanted(change):
                        yield _event(change)
            async with aclosing(_as_they_happen(admin, messages, place, wanted, may_stay, watch)) as events:
                async for event in events:
                    yield event
    except Unavailable:  # it can go on from here when the database is back
        pass
    yield _GOODBYE


async def _newest_number(admin: AdminServices) -> int:
    async with admin.store.read() as connection:
        return await changes.newest_number(connection)


async def _as_they_happen(
    admin: AdminServices,
    messages: AsyncIterator[Message],
    place: "_Place",
    wanted: Wanted,
    may_stay: Callable[[], Awaitable[bool]],
    watch: ClientsWatch | None,
) -> AsyncGenerator[bytes, None]:
    heard = asyncio.ensure_future(anext(messages, None))
    # By the clock, however much is heard meanwhile: that may all be of no interest to this reader.
    heartbeat = time.monotonic() + admin.heartbeat_seconds
    longest = math.inf if watch is None else TICK_SECONDS
    try:
        while True:
            if watch is not None:
                for news in _news(admin, watch, wanted):
                    yield news
            done, _ = await asyncio.wait({heard}, timeout=min(max(heartbeat - time.monotonic(), 0), longest))
            if time.monotonic() >= heartbeat:
                heartbeat = time.monotonic() + admin.heartbeat_seconds
                if not await may_stay():
                    return
                yield _HEARTBEAT
            if not done:
                continue
            message = heard.result()
            if message is None:
                return
            heard = asyncio.ensure_future(anext(messages, None))
            if isinstance(message, RevisionHint) and wanted(message):
                async for change in place.go_on(message):
                    yield _event(change)
    finally:
        heard.cancel()


def _news(admin: AdminServices, watch: ClientsWatch, wanted: Wanted) -> Iterator[bytes]:
    for followed in admin.distributor.followed():
        if wanted(RevisionHint(followed.project, followed.environment, followed.revision)):
            yield from watch.news(followed.project, followed.environment)


class _Place:
    """How far one reader has come, in each environment by itself (see ``changes.following``)."""

    def __init__(self, admin: AdminServices, start: int) -> None:
        self._store = admin.store
        self._start = start
        self._reached: dict[tuple[str, str], int] = {}

    async def catch_up(self) -> AsyncIterator[LoggedChange]:
        number = self._start
        while True:
            async with self._store.read() as connection:
                batch = await changes.following(connection, number, _BATCH)
            for change in batch:
                number = change.id
                self._reached[change.project, change.environment] = number
                yield change
            if len(batch) < _BATCH:
                return

    async def go_on(self, hint: RevisionHint) -> AsyncIterator[LoggedChange]:
        place = hint.project, hint.environment
        while True:
            try:
                async with self._store.read() as connection:
                    batch = await changes.following(
                        connection,
                        self._reached.get(place, self._start),
                        _BATCH,
                        project=hint.project,
                        environment=hint.environment,
                    )
            except Unavailable:  # the next hint brings it
                return
            for change in batch:
                self._reached[place] = change.id
                yield change
            if len(batch) < _BATCH:
                return


def _event(change: LoggedChange) -> bytes:
    return b"event: change\nid: %d\ndata: %s\n\n" % (change.id, msgspec.json.encode(change_view(change)))
