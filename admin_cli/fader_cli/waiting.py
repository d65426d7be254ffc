"""Waiting until SDKs have applied a revision: asks again and again, whatever happens to the server meanwhile, and ends
in time, whatever happens."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from fader_cli.acknowledgements import Acknowledgements
from fader_cli.errors import CliError
from fader_cli.exits import ExitCode
from fader_cli.retries import PassingFault

TIMEOUT: Final = 10.0
EVERYBODY: Final = 100.0

_PAUSE: Final = 0.1
_LONGEST_ANSWER: Final = 2.0
"""Seconds after which it is better to ask anew: behind a load balancer, that is another node."""

Ask: TypeAlias = Callable[["Waiting", float], dict[str, Any]]
"""Gets the acknowledgements document that somebody waits for, within so many seconds."""


class Patience(Struct, frozen=True):
    """How long is waited, and for how many.

    Args:
        timeout: Seconds.
        require: The share of the SDKs that must have applied the revision, in percent.
    """

    timeout: float = TIMEOUT
    require: float = EVERYBODY


class Waiting:
    """How far one revision has come in one environment, by all that was heard of it.

    Args:
        environment: Where.
        revision: What is waited for.
        require: For which share of the SDKs, in percent.
        is_certain: Whether the revision is known to exist: then a server that does not know it will, in a moment.
    """

    def __init__(self, environment: str, revision: int, require: float, *, is_certain: bool) -> None:
        self.environment = environment
        self.revision = revision
        self.document: dict[str, Any] | None = None
        self.answer: Acknowledgements | None = None
        self.fault: CliError | None = None
        """Why the last question had no answer."""
        self.is_hopeless = False
        """Whether asking again would not help."""
        self._require = require
        self._is_certain = is_certain
        self._expected = 0

    @property
    def expected(self) -> int:
        """SDKs that are waited for. A server that was away knows only those who have come back: until all have whom it
        knew before, few are no better than many were."""
        return max(self._expected, 0 if self.answer is None else self.answer.clients)

    @property
    def is_reached(self) -> bool:
        """Whether enough of them have applied it."""
        if self.answer is None or self.is_hopeless:
            return False
        if self._require == EVERYBODY:
            return self.answer.complete and self.answer.applied >= self.expected
        # In whole thousandths of a percent: the last client must not be lost to rounding.
        return self.answer.applied * 100_000 >= round(self._require * 1_000) * self.expected

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.is_reached or self.is_hopeless

    def hear(self, document: dict[str, Any]) -> None:
        """The server has answered."""
        try:
            answer = msgspec.convert(document, Acknowledgements)
        except msgspec.ValidationError as error:
            self.fail(PassingFault(f"what answers is not a Fader server, or a newer one: {error}"))
            return
        if self.answer is not None and answer.epoch != self.answer.epoch:
            # Revisions of another history say nothing about this one.
            self.fault = CliError("the server's database was replaced meanwhile", "see `fader history`")
            self.is_hopeless = True
            return
        if self.answer is not None and answer.counting_since != self.answer.counting_since:
            self._expected = self.expected  # it has been away, for a shorter time than there is between two questions
        self.document, self.answer, self.fault = document, answer, None

    def fail(self, error: CliError) -> None:
        """It has not."""
        if self.answer is not None:
            self._expected = self.expected
        self.fault = error
        if error.code is ExitCode.NOT_FOUND:
            self.is_hopeless = self.answer is None and (_is_too_old(error) or not self._is_certain)
        else:
            self.is_hopeless = error.code is ExitCode.NOT_ALLOWED
        if self.is_hopeless and error.code is ExitCode.NOT_FOUND and _is_too_old(error):
            self.fault = CliError(
                "this server cannot tell who has applied what", "it is too old for that", ExitCode.NOT_APPLIED
            )


def _is_too_old(error: CliError) -> bool:
    detail = "" if error.problem is None else str(error.problem.get("detail", ""))
    return error.problem is None or detail.startswith("There is nothing at ")


def wait(waitings: Sequence[Waiting], ask: Ask, end: float, show: Callable[[], None]) -> None:
    """Wait until nothing is left to wait for, or until the time is up.

    Args:
        waitings: What for. Each is told what was heard.
        ask: Asks the server. A :class:`CliError` says why it got no answer.
        end: When the time is up, by ``time.monotonic``.
        show: Called after everything that was heard.
    """
    # Each asks on a thread of its own, which nobody waits for: not even a name server that does not answer, or a
    # server that sends a byte a second, makes this take longer.
    heard: _Heard = queue.SimpleQueue()
    is_over = threading.Event()
    for waiting in waitings:
        threading.Thread(target=_keep_asking, args=(waiting, ask, end, heard, is_over), daemon=True).start()
    try:
        while not all(waiting.is_over for waiting in waitings):
            try:
                waiting, outcome = heard.get(timeout=max(end - time.monotonic(), 0.0))
            except queue.Empty:
                return
            if isinstance(outcome, CliError):
                waiting.fail(outcome)
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                waiting.hear(outcome)
            show()
    finally:
        is_over.set()


_Heard: TypeAlias = "queue.SimpleQueue[tuple[Waiting, dict[str, Any] | Exception]]"


def _keep_asking(waiting: Waiting, ask: Ask, end: float, heard: _Heard, is_over: threading.Event) -> None:
    while (left := end - time.monotonic()) > 0 and not is_over.is_set():
        pause = _PAUSE
        outcome: dict[str, Any] | Exception
        try:
            outcome = ask(waiting, min(left, _LONGEST_ANSWER))
        except Exception as error:  # noqa: BLE001 (raised by whoever waits)
            if time.monotonic() >= end:
                return  # it was cut short by us, which says nothing about the server
            outcome = error
            if isinstance(error, PassingFault) and error.retry_after:
                pause = max(pause, error.retry_after)
        heard.put((waiting, outcome))
        is_over.wait(min(pause, max(end - time.monotonic(), 0.0)))
