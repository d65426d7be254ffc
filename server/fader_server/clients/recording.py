"""Keeps, for the history, how each change has reached the clients of this node."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from fader_server.clients.gathering import Gathering
from fader_server.clients.notes import Place
from fader_server.clients.roster import Roster
from fader_server.clients.tally import tally
from fader_server.errors import FaderError
from fader_server.logs import logger
from fader_server.storage import Store
from fader_server.storage.records import NodePropagation

_log = logger(__name__)

_EVERY_SECONDS: Final = 2.0
"""All that has settled since is one transaction: many changes a second must not become twice as many writes."""

_SETTLED_SECONDS: Final = 15.0
"""After so long a change is recorded as it is, whoever is still missing."""


class Recorder:
    """Looks at the rosters of a node now and then.

    Args:
        gathering: Whose.
        store: Where to.
        clock: The time, aware.
    """

    def __init__(self, gathering: Gathering, store: Store, clock: Callable[[], datetime]) -> None:
        self._gathering = gathering
        self._store = store
        self._clock = clock
        self._recorded: dict[Place, set[tuple[str, int]]] = defaultdict(set)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.record_settled()

    async def record_settled(self) -> None:
        """Write down what has settled since the last time. While the database is away, it waits."""
        now = self._clock()
        rows = [row for place, roster in self._gathering.rosters() for row in self._settled(place, roster, now)]
        if not rows:
            return
        try:
            await self._store.record_propagations(rows)
        except FaderError:
            _log.debug("how changes have reached clients cannot be recorded now")
            return
        for row in rows:
            self._recorded[Place(row.project, row.environment)].add((row.epoch, row.revision))

    def _settled(self, place: Place, roster: Roster, now: datetime) -> Iterator[NodePropagation]:
        timed = roster.timed()
        recorded = self._recorded[place]
        recorded &= {(roster.epoch, one.revision) for one in timed}
        new = [one for one in timed if (roster.epoch, one.revision) not in recorded]
        if not new:
            return
        summary = roster.summary()
        for one in new:
            reached = tally(summary, roster.epoch, one.revision)
            is_settled = reached.applied == reached.clients or now.timestamp() - one.committed >= _SETTLED_SECONDS
            if is_settled and reached.clients:
                yield NodePropagation(
                    project=place.project,
                    environment=place.environment,
                    epoch=roster.epoch,
                    revision=one.revision,
                    node=self._gathering.node,
                    clients=reached.clients,
                    applied=reached.applied,
                    refused=reached.refused,
                    buckets=one.propagation.buckets,
                    max_ms=one.propagation.max_ms,
                    recorded_at=now,
                )
