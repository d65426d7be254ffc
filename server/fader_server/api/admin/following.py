"""Changes as Server-Sent Events, for consoles and for `fader watch`: few readers, so each reads the log for
itself.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec

from fader_server.api.admin.services import AdminServices
from fader_server.api.admin.views import change_view
from fader_server.bus import RevisionHint
from fader_server.errors import Unavailable
from fader_server.storage import changes
from fader_server.storage.records import LoggedChange

Wanted: TypeAlias = Callable[[LoggedChange | RevisionHint], bool]

_BATCH = 100
_OPENING = b": follows changes\n\n"
_HEARTBEAT = b": heartbeat\n\n"
_GOODBYE = b"event: goodbye\nretry: 1000\ndata: {}\n\n"


async def followed_changes(
    admin: AdminServices, since: int | None, wanted: Wanted, may_stay: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """Changes from now on, or from the one numbered ``since`` on; until the bus is closed.

    Args:
        wanted: whether the reader asked for a change, and may see it.
        may_stay: asked with each heartbeat; a reader whose token has become invalid is sent away.
    """
    async with admin.bus.subscribe() as messages:
        # Subscribed first and read then: what happens in between is seen twice, and sent once.
        async with admin.store.read() as connection:
            start = await changes.newest_number(connection) if since is None else since
        yield _OPENING
        place = _Place(admin, start)
        if since is not None:
            async for change in place.catch_up():
                if wanted(change):
                    yield _event(change)
        heard = asyncio.ensure_future(anext(messages, None))
        try:
            while True:
                done, _ = await asyncio.wait({heard}, timeout=admin.heartbeat_seconds)
                if not done:
                    if not await may_stay():
                        break
                    yield _HEARTBEAT
                    continue
                message = heard.result()
                if message is None:
                    break
                heard = asyncio.ensure_future(anext(messages, None))
                if isinstance(message, RevisionHint) and wanted(message):
                    async for change in place.go_on(message):
                        yield _event(change)
            yield _GOODBYE
        finally:
            heard.cancel()


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
