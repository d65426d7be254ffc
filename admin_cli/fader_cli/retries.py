"""Trying again where that may help: a server that restarts, a database that fails over, a limit that is reached."""

import math
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fader.backoff import Backoff
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 5.0
_SHORTEST_TRY: Final = 0.5
"""All in seconds."""


class PassingFault(CliError):  # noqa: N818 - it reads as what happened: `except PassingFault`
    """What may be otherwise in a moment.

    Args:
        retry_after: Seconds that the server asks to be left alone for.
        The others: see :class:`CliError`.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        problem: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint, ExitCode.UNREACHABLE, problem)
        self.retry_after = retry_after


class Retries:
    """Tries a request until it gets an answer: with pauses that grow, differ from process to process, and are never
    shorter than the server asks for.

    Args:
        seconds: How long at most; with 0, each request is tried once.
        notify: Is told why, at the first retry of a request.
    """

    def __init__(self, seconds: float = 0.0, notify: Callable[[str], None] | None = None) -> None:
        self._seconds = seconds
        self._notify = notify

    def run(self, request: Callable[[float], T]) -> T:
        """Try a request. Its argument is how many seconds are left for it: no limit for the first try.

        Raises:
            PassingFault: the last one, when there is no time left for another try.
            CliError: at once, if trying again would not help.
        """
        end = time.monotonic() + self._seconds
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        left, is_first = math.inf, True
        while True:
            try:
                return request(left)
            except PassingFault as fault:
                pause = backoff.next() + (fault.retry_after or 0.0)
                if time.monotonic() + pause >= end:
                    if fault.retry_after:
                        fault.hint = f"it asks to be tried again in {math.ceil(fault.retry_after)} s"
                    raise
                if is_first and self._notify is not None:
                    self._notify(f"{fault.message}; trying again for up to {self._seconds:g} s")
            time.sleep(pause)
            left, is_first = max(end - time.monotonic(), _SHORTEST_TRY), False
