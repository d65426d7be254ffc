"""Which of several servers does what only one may do, such as moving ramps: the one that holds a lease. Whoever dies
loses it by letting it run out."""

import time
from collections.abc import Callable
from typing import Final

from fader_server.errors import Unavailable
from fader_server.logs import logger
from fader_server.storage import Store, leases

_log = logger(__name__)

LEASE_SECONDS: Final = 6.0
"""Another server takes over so long after the last word of one that has died."""

_RENEWED_AFTER: Final = 2.0


class Leader:
    """One server's claim.

    Args:
        store: Where leases are kept.
        name: The server's, which no other has.
        lease: What it claims.
        monotonic: Seconds that only grow.
    """

    def __init__(self, store: Store, name: str, lease: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self.name = name
        self.lease = lease
        self._monotonic = monotonic
        self._renewed: float | None = None

    @property
    def leads(self) -> bool:
        """Whether this server has the lease, as far as it knows: what it writes is checked once more."""
        return self._renewed is not None and self._monotonic() - self._renewed < LEASE_SECONDS

    async def claim(self) -> bool:
        """Take the lease if nobody has it, or renew it when it is time.

        Returns:
            Whether this server leads.
        """
        now = self._monotonic()
        if self._renewed is not None and now - self._renewed < _RENEWED_AFTER:
            return True
        led = self.leads
        try:
            async with self._store.write() as connection:
                is_mine = await leases.take(connection, self.lease, self.name, LEASE_SECONDS)
        except Unavailable:
            return self.leads
        self._renewed = now if is_mine else None
        if is_mine and not led:
            _log.info("this server leads from now on", lease=self.lease)
        return is_mine

    async def resign(self) -> None:
        """Let others take over at once."""
        if self._renewed is None:
            return
        self._renewed = None
        try:
            async with self._store.write() as connection:
                await leases.release(connection, self.lease, self.name)
        except Unavailable:
            _log.debug("the lease could not be given back; it runs out by itself")
