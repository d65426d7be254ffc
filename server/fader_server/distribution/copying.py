"""Hands copies of environments to the standby, as they change."""

import asyncio
from typing import Final
from weakref import WeakSet

from fader_server.distribution.feed import Feed
from fader_server.errors import Unavailable
from fader_server.logs import logger
from fader_server.standby import EnvironmentCopy, Standby
from fader_server.storage import Store
from fader_server.storage.records import SdkKey

_log = logger(__name__)

_SECONDS: Final = 1.0
"""Between two rounds: of changes that follow quickly on each other, the last one is enough."""

_ROUNDS_UNTIL_KEYS: Final = 10
"""Keys are looked at less often than revisions: a new one has to be handed out before it is needed."""


class Copying:
    """Remembers what was saved, and saves what has become different.

    Args:
        store: Where keys are read.
        standby: Where copies go.
    """

    def __init__(self, store: Store, standby: Standby) -> None:
        self._store = store
        self._standby = standby
        self._saved: dict[tuple[str, str], tuple[object, dict[str, SdkKey]]] = {}
        self._until_keys = 0
        self._stumbling: WeakSet[Feed] = WeakSet()
        self._awake = asyncio.Event()
        self.is_working = True
        """Whether the last copy could be saved."""

    def renew(self) -> None:
        """A key has become invalid: see to it that no copy lets it in."""
        self._until_keys = 0
        self._awake.set()

    async def round(self, feeds: list[Feed]) -> None:
        """Save what is different, and then wait until it is worth looking again."""
        looks_at_keys = self._until_keys <= 0
        self._until_keys = _ROUNDS_UNTIL_KEYS if looks_at_keys else self._until_keys - 1
        try:
            for feed in feeds:
                await self._save_or_skip(feed, looks_at_keys=looks_at_keys)
        except Unavailable as fault:
            if self.is_working:
                _log.warning("copies of environments cannot be saved", why=fault.detail)
            self.is_working = False
            self._saved.clear()  # an empty Redis may come back
        else:
            self.is_working = True
        try:
            async with asyncio.timeout(_SECONDS):
                await self._awake.wait()
        except TimeoutError:
            pass
        self._awake.clear()

    async def _save_or_skip(self, feed: Feed, *, looks_at_keys: bool) -> None:
        try:
            await self._save(feed, looks_at_keys=looks_at_keys)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 (one environment that cannot be copied is no reason not to copy the others)
            if feed not in self._stumbling:
                self._stumbling.add(feed)
                place = feed.snapshot.project, feed.snapshot.environment
                _log.exception("an environment cannot be copied; it is tried again", place=":".join(place))
        else:
            self._stumbling.discard(feed)

    async def _save(self, feed: Feed, *, looks_at_keys: bool) -> None:
        place = feed.snapshot.project, feed.snapshot.environment
        version, keys = self._saved.get(place, (None, {}))
        if version == feed.version and not looks_at_keys:
            return
        found = await self._store.valid_keys(*place)
        if version == feed.version and found == keys:
            return
        version = feed.version
        await self._standby.save(EnvironmentCopy(snapshot=feed.snapshot, keys=found))
        self._saved[place] = (version, found)
