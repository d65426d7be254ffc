"""The chore of handing reports in, each of them once, whatever happens on the way."""

import time
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from fader.backoff import retry_after
from fader.config import Timing
from fader.status import Journal
from fader.transport import Answer, Failure, describe

_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""Statuses that the same report would get again."""


class Source(Protocol):
    """Where reports come from."""

    @property
    def subject(self) -> str:
        """What they are of, in words, for the log."""

    def next_report(self) -> bytes | None:
        """What there is to report since the last one, as much as one report takes; ``None`` if there is nothing."""


class HandingIn:
    """Hands in a source's reports every now and then, and at the end.

    Args:
        source: Where they come from.
        every: Seconds between two rounds.
        timing: How patient to be.
        send: Posts a report within a number of seconds.
        journal: Whom to tell how it goes.
        rng: Source of the jitter, so that processes that start together do not report together for ever.
    """

    def __init__(
        self,
        source: Source,
        every: float,
        timing: Timing,
        send: Callable[[bytes, float], Answer],
        journal: Journal,
        rng: Random | None = None,
    ) -> None:
        self._source = source
        self._every = every
        self._timing = timing
        self._send = send
        self._journal = journal
        self._rng = rng or Random()
        self._due = time.monotonic() + self._pause()
        # A report that may or may not have arrived. It is sent again as it is, so that the server can tell by its id;
        # what comes up meanwhile waits in the source, so however long the server is away, this is all there is.
        self._unconfirmed: bytes | None = None

    def run_if_due(self, now: float) -> float:
        """Report if it is time; returns the seconds until it will be."""
        if now >= self._due:
            self._due = now + self._pause()
            wanted = self._flush(time.monotonic() + self._timing.usage_post)
            self._due = max(self._due, time.monotonic() + wanted)
        return self._due - now

    def finish(self, within: float) -> None:
        """Report a last time."""
        self._flush(time.monotonic() + within)

    def _pause(self) -> float:
        return self._every * self._rng.uniform(0.9, 1.1)

    def _flush(self, deadline: float) -> float:
        """Send what there is; returns how long the server asks to wait before the next report."""
        while True:
            report = self._unconfirmed = self._unconfirmed or self._source.next_report()
            if report is None:
                return 0.0
            wait = self._post(report, deadline)
            if wait is not None:
                return wait
            self._unconfirmed = None

    def _post(self, report: bytes, deadline: float) -> float | None:
        """Send a report; ``None`` if that settles it, else the seconds that the server asks to wait."""
        within = deadline - time.monotonic()
        if within <= 0:
            return 0.0
        try:
            answer = self._send(report, within)
        except Failure as error:
            self._note(describe(error))
            return 0.0
        subject = self._source.subject
        if answer.status < 300:
            self._journal.mended(subject)
            return None
        if answer.status in _HOPELESS:
            self._journal.note(subject, f"the server refuses {subject} with status {answer.status}")
            return None
        self._note(f"status {answer.status}")
        wanted = retry_after(answer.headers.get("Retry-After"), time.time(), self._timing.retry_after_longest)
        return wanted or 0.0

    def _note(self, why: str) -> None:
        if self._journal.transport is not None:  # otherwise it has been said already that the server is away
            subject = self._source.subject
            self._journal.note(subject, f"{subject} do not get through ({why}); they are kept")
