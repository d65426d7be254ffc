"""While the database cannot be reached, one asks whether it is back, and the others need not wait to be refused.

The pattern is known as a circuit breaker (Michael Nygard, *Release It!*).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fader_server.errors import FaderError, Unavailable
from fader_server.storage import faults

_AGAIN_SECONDS: Final = 1.0


class Breaker:
    """Stands before every transaction.

    Args:
        clock: Seconds that only ever go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._is_open = False
        self._is_tried = False
        self._again_at = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a transaction, whose faults it hears of.

        Raises:
            Unavailable: at once, if the database could not be reached lately, and it is not this transaction's turn to
                find out whether it can be again.
        """
        tries = self._is_open
        if tries:
            if self._is_tried or self._clock() < self._again_at:
                raise Unavailable("The database cannot be reached at the moment; nothing was changed.")
            self._is_tried = True
        try:
            yield
        except faults.RAISED as fault:
            if faults.is_unreachable(fault):
                self._is_open = True
                self._again_at = self._clock() + _AGAIN_SECONDS
            raise
        except FaderError:
            self._is_open = self._is_open and not tries  # it has answered, if not what was hoped for
            raise
        else:
            # Only who tried may say that it is back: others may have been answered before it went.
            self._is_open = self._is_open and not tries
        finally:
            if tries:
                self._is_tried = False
