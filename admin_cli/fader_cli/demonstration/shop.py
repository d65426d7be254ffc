"""A shop that the demo brings along: some hundred users who come back all the time."""

import threading
import time
from typing import Final

from fader import Client

USERS: Final = 480
METRIC: Final = "payment"
"""What the shop records: whether a user could pay."""

_IDLE: Final = 0.0005
_UNLUCKY: Final = 240
"""Of so many users one cannot pay, whatever is released."""
_BROKEN: Final = 4
"""Of so many users one cannot pay with a release that is broken."""


class PaymentFailed(Exception):  # noqa: N818 (reads as what happened)
    """A user could not pay."""


class Shop:
    """Its users ask for one flag each time that they come, and pay.

    Args:
        flags: Its client.
        flag: The key of the flag.
    """

    def __init__(self, flags: Client, flag: str) -> None:
        self.users = [f"user-{number}" for number in range(USERS)]
        self.flag = flag
        self.sees_new = [False] * USERS
        self.fails = [False] * USERS
        self.visits = 0
        self.is_broken = False
        """Whether what is behind the flag fails for many."""
        self._flags = flags
        self._closing = False
        self._thread = threading.Thread(target=self._trade, daemon=True)

    def open(self) -> None:
        """Let the users in."""
        self._thread.start()

    def close(self) -> None:
        """Send them home."""
        self._closing = True
        self._thread.join()

    @property
    def share(self) -> float:
        """The share of users who have the feature, in percent."""
        return 100 * sum(self.sees_new) / USERS

    def settle(self) -> None:
        """Wait until every user has come by once more."""
        wanted = self.visits + 2 * USERS
        while self.visits < wanted:
            time.sleep(_IDLE)

    def _trade(self) -> None:
        while not self._closing:
            for number, user in enumerate(self.users):
                try:
                    with self._flags.measure(METRIC, user):
                        self.sees_new[number] = self._flags.is_enabled(self.flag, user)
                        self._pay(number)
                    self.fails[number] = False
                except PaymentFailed:
                    self.fails[number] = True
            self.visits += USERS
            time.sleep(_IDLE)

    def _pay(self, number: int) -> None:
        is_hit = self.is_broken and self.sees_new[number] and number % _BROKEN == 0
        if is_hit or number % _UNLUCKY == 7:
            raise PaymentFailed
