"""What to do next, and when: stream or poll, at once or later. Decides on values; sleeps and speaks elsewhere."""

import random
from enum import Enum
from typing import NamedTuple

from fader.backoff import Backoff, half_jitter, spread
from fader.config import Timing
from fader.status import LOST

_BLOCKED_LIMIT = 3
"""Streams in a row that must fail to get through before polling takes over: one may be bad luck."""
_GOOD_POLLS = 2
"""Good polls in a row after which earlier failures are forgotten."""


class Result(Enum):
    """How an attempt to get flags ended."""

    ENDED = "ended"
    """A stream ended in good order: a goodbye, or the end of its bytes."""
    POLLED = "polled"
    """A poll was answered."""
    FAILED = "failed"
    """A stream did not come about or broke: I/O, a passing status, an answer that makes no sense."""
    POLL_FAILED = "poll failed"
    """The same of a poll."""
    BLOCKED = "blocked"
    """The connection stood, but nothing of a stream came through: something between holds it back."""
    UNFIT = "unfit"
    """The server, or something between, says that it has no streams."""
    REFUSED = "refused"
    """Not with this key, or not at this address. Haste mends nothing, but it may be mended at any time."""


class Outcome(NamedTuple):
    """An attempt's result, and what the next one's time depends on."""

    result: Result
    detail: str = ""
    """What went wrong, fit for the log."""
    wait: float | None = None
    """How long the server asked to wait, in seconds."""
    lived: float = 0.0
    """How long the stream stood, in seconds."""
    phase: str = LOST
    """What a line in the log is for: the next is written only when this changes."""


class Plan:
    """Chooses between streaming and polling, and the pauses between attempts.

    Args:
        timing: How patient to be.
        streaming: Whether to stream at all.
        poll_interval: Seconds between polls.
        rng: Source of the jitter.
    """

    def __init__(
        self, timing: Timing, *, streaming: bool, poll_interval: float, rng: random.Random | None = None
    ) -> None:
        self._timing = timing
        self._streaming = streaming
        self._poll_interval = poll_interval
        self._rng = rng or random.Random()
        self._backoff = Backoff(timing.backoff_first, timing.backoff_longest, self._rng)
        self._blocked = 0
        self._poll_until: float | None = None
        self._good_polls = 0
        self._poll_failed = False

    def streams(self, now: float) -> bool:
        """Whether the next attempt is a stream.

        Args:
            now: The present time, in seconds of ``time.monotonic``.
        """
        return self._streaming and (self._poll_until is None or now >= self._poll_until)

    def got_through(self) -> None:
        """A stream has brought its first byte."""
        self._blocked = 0
        self._poll_until = None

    def pause_after(self, outcome: Outcome, now: float) -> float:
        """The pause before the next attempt, in seconds.

        Args:
            outcome: How the last one ended.
            now: The present time, in seconds of ``time.monotonic``.
        """
        if outcome.lived >= self._timing.healthy:
            self._backoff.reset()
        match outcome.result:
            case Result.POLLED:
                return self._after_a_good_poll(now)
            case Result.POLL_FAILED:
                self._good_polls = 0
                self._poll_failed = True
                # So it was not the streams alone: see to both in turn, whichever works again first.
                self._poll_until = now
            case Result.REFUSED:
                self._good_polls = 0
                return max(half_jitter(self._timing.slow_retry, self._rng), outcome.wait or 0.0)
            case Result.ENDED if outcome.wait is not None:
                pause = spread(min(outcome.wait, self._timing.retry_after_longest), self._rng)
                # A server that says goodbye as soon as it is greeted must not make a tight loop.
                young = outcome.lived < self._timing.backoff_first
                return max(pause, self._backoff.next()) if young else pause
            case Result.BLOCKED | Result.UNFIT:
                self._blocked += 1 if outcome.result is Result.BLOCKED else _BLOCKED_LIMIT
                if self._blocked >= _BLOCKED_LIMIT:
                    self._poll_until = now + self._timing.stream_again
            case _:
                pass
        # Spread, for a balancer tells all of its clients the same; a server of ours counts on it.
        return max(self._backoff.next(), spread(outcome.wait or 0.0, self._rng))

    def _after_a_good_poll(self, now: float) -> float:
        self._good_polls += 1
        if self._good_polls >= _GOOD_POLLS:
            self._backoff.reset()
        if self._poll_failed:
            # The server was away as a whole and is back, so streams may well get through now.
            self._poll_failed = False
            self._poll_until = now
        return self._rng.uniform(0.9, 1.1) * self._poll_interval
