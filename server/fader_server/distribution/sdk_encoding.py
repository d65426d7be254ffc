"""How SDKs of ours are told: a snapshot, and then each change."""

from collections.abc import Sequence
from typing import Final

from fader_server.clients import Roster
from fader_server.distribution.encoding import Served
from fader_server.distribution.events import (
    HEARTBEAT,
    Delivery,
    Version,
    body,
    change_event,
    goodbye_event,
    merged,
    snapshot_event,
)
from fader_server.distribution.recent import Recent

_ONE_BY_ONE: Final = 16
"""Changes that are sent as they were made; more, or larger ones, are sent as one that comes to the same."""
_ONE_BY_ONE_BYTES: Final = 16_384


class SdkEncoding:
    """Implements :class:`fader_server.distribution.encoding.Encoding`.

    Args:
        served: What is to be written.
        roster: Knows over how long clients spread their acknowledgements.
    """

    heartbeat: Final = HEARTBEAT

    def __init__(self, served: Served, roster: Roster) -> None:
        self._served = served
        self._roster = roster
        self._whole: Delivery | None = None

    def beginning(self, since: Version | None) -> Delivery | None:
        """Everything, or all that has changed as one; nothing for who has it already."""
        return None if since == self._served.version else self._from(since)

    def way(self, since: Version) -> Delivery:
        """The same for who follows: change by change, if there are few."""
        return self._as_it_happened(since) or self._from(since)

    def goodbye(self, retry_milliseconds: int) -> bytes:
        """An event of that name."""
        return goodbye_event(retry_milliseconds)

    def _as_it_happened(self, since: Version) -> Delivery | None:
        way = self._served.after(since)
        if not way or len(way) > _ONE_BY_ONE or sum(len(recent.event) for recent in way) > _ONE_BY_ONE_BYTES:
            return None
        return Delivery("change", body(b"".join(recent.event for recent in way)), self._served.version)

    def _from(self, since: Version | None) -> Delivery:
        way = None if since is None else self._served.after(since)
        if way:
            event = way[0].event if len(way) == 1 else self._merged(way)
            return Delivery("change", body(event), self._served.version)
        if self._whole is None or self._whole.leads_to is not self._served.version:
            event = snapshot_event(self._served.snapshot, self._roster.ack_within_ms)
            self._whole = Delivery("snapshot", body(event), self._served.version)
        return self._whole

    def _merged(self, way: Sequence[Recent]) -> bytes:
        return change_event(merged(recent.change for recent in way), self._roster.ack_within_ms)
