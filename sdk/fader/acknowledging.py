"""What a process tells the server about its flags: that it has them, that it refused some, and that it leaves.

Whoever has changed a flag waits for these words, so they are prompt; ten thousand processes say them, so they are
spread; and they are said on the thread that follows the flags, so each is bounded, and at most the newest is owed.
"""

import math
import re
import time
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

import msgspec

from fader.backoff import Backoff, retry_after, spread
from fader.config import Timing
from fader.status import logger
from fader.transport import Answer, Failure, Word, describe

_VERSION: Final = re.compile(r"([0-9a-z]{1,64})-([0-9]{1,19})")
_NODE: Final = re.compile(r"[A-Za-z0-9._:@/-]{1,128}")
"""A node's name goes back to the server in a header; nothing else than this may get there."""
_LONGEST_ERROR: Final = 200
_LONGEST_HELD: Final = 3600.0
"""Seconds beyond which it is no longer told how late an acknowledgement is: servers believe no more."""
_IDLE: Final = 60.0
_NO_SUCH_PATH: Final = frozenset({404, 405})
"""What servers answer that are older than acknowledgements."""
_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""Statuses that the same words would get again."""


class Version(NamedTuple):
    """A revision of an epoch."""

    epoch: str
    revision: int


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent of a revision. ``held_ms``, the milliseconds since it was applied, is for those that were."""

    instance: str
    epoch: str
    revision: int
    applied: bool
    held_ms: int | msgspec.UnsetType = msgspec.UNSET
    error: str = ""
    node: str = ""


class Goodbye(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent at the end."""

    instance: str
    node: str = ""


class _Owed(NamedTuple):
    """What is to be said of a version, and when."""

    version: Version
    since: float
    due: float
    error: str | None = None


class Acknowledger:
    """The chore of telling the server. It hears from the thread what has become of the flags.

    Args:
        instance: The name of this process.
        timing: How patient to be.
        send: Posts such a word within a number of seconds.
        quiet: Seconds from now in which nothing is said.
        is_complete: Whether the flags that are evaluated with have all that they name. Until then they are not applied.
        clock: Gives the time, in seconds of ``time.monotonic``.
        rng: Source of the moments.
    """

    def __init__(
        self,
        instance: str,
        timing: Timing,
        send: Callable[[Word, bytes, float], Answer],
        quiet: float = 0.0,
        is_complete: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self._instance = instance
        self._timing = timing
        self._send = send
        self._is_complete = is_complete
        self._clock = clock
        self._rng = rng or Random()
        self._backoff = Backoff(timing.backoff_first, timing.backoff_longest, self._rng)
        self.node = ""
        """The node of the last stream, so that others can tell where this process has come from; empty if unknown."""
        self._window = 0.0
        self._applied: _Owed | None = None
        self._refused: _Owed | None = None
        self._was_incomplete = False
        # What this connection has been told already.
        self._told_applied: Version | None = None
        self._told_refused: Version | None = None
        self._polled: Version | None = None
        self._last = -math.inf
        self._not_before = self._asked_to_wait = clock() + quiet
        self._is_understood = True
        """Whether the server of this stream takes such words, as far as is known."""
        self._is_expected = False
        """Whether any server has ever counted this process in, and would wait for it."""

    def connected(self, node: str | None) -> None:
        """A stream has been opened, which ``node`` serves; ``None`` if the server does not say."""
        self.node = node if node is not None and _NODE.fullmatch(node) else ""
        self._is_expected = self._is_expected or bool(self.node)
        self._is_understood = True
        self._told_applied = self._told_refused = None
        # The server is there, so what failed while it was not says nothing any longer.
        self._backoff.reset()
        self._not_before = self._asked_to_wait

    def applied(self, version: str | None, within_ms: int) -> None:
        """The flags are those of ``version`` now, of which the stream has just told.

        Args:
            version: Epoch and revision.
            within_ms: Milliseconds within which the server wants to hear of it.
        """
        now = self._clock()
        self._window = min(max(within_ms, 0), self._timing.ack_window * 1000) / 1000
        read = _read(version)
        owed = self._applied
        if read is None or not self._is_understood or read in {self._told_applied, owed and owed.version}:
            return
        # A revision that comes before the last one was acknowledged takes that one's place and keeps its moment, so
        # that neither more is said the faster they come, nor ever less.
        due = owed.due if owed is not None else max(now + self._draw(), self._last + self._window)
        self._applied = _Owed(read, now, due)
        refused = self._refused
        if refused is not None and not _is_later(refused.version, read):
            self._refused = None

    def refused(self, version: str | None, error: str) -> None:
        """What has come makes no sense, and the flags stay what they were.

        Args:
            version: The epoch and revision that it was to bring, as far as the server says.
            error: Why, for people. It must not hold values of anybody's.
        """
        read = _read(version)
        owed = self._refused
        if read is None or not self._is_understood or read in {self._told_refused, owed and owed.version}:
            return
        now = self._clock()
        # Somebody ought to know soon, so it does not wait for its turn after the last acknowledgement.
        due = owed.due if owed is not None else now + self._draw()
        self._refused = _Owed(read, now, due, error[:_LONGEST_ERROR])

    def refused_poll(self, version: str | None, error: str) -> None:
        """As ``refused``, by a client that polls and gets the same again and again: it is said once."""
        read = _read(version)
        if read is not None and read != self._polled:
            self._polled = read
            self._is_understood = True  # each poll may be answered by another server
            self.refused(version, error)

    def run_if_due(self, now: float) -> float:
        """Say what is due, one word at a time; returns the seconds until more will be."""
        for owed in self._sayable():
            if max(owed.due, self._not_before) <= now:
                self._acknowledge(owed)
                break  # the thread looks for flags in between, so that they wait behind one word at most
        dues = [owed.due for owed in self._sayable()]
        return max(0.0, max(min(dues), self._not_before) - self._clock()) if dues else _IDLE

    def _sayable(self) -> list[_Owed]:
        """What can be said already. A revision is not applied before the long lists that it names are here; they come
        on this same thread, which looks here afterwards."""
        applied = self._applied
        if applied is not None and not self._is_complete():
            self._was_incomplete = True
            applied = None
        elif applied is not None and self._was_incomplete:
            self._was_incomplete = False
            applied = self._applied = applied._replace(since=self._clock())
        return [owed for owed in (applied, self._refused) if owed is not None]

    def finish(self, within: float) -> None:
        """Say goodbye, so that nobody waits for this process. What was still owed is of no interest with that."""
        within = min(within, self._timing.ack_post)
        if not self._is_expected or within <= 0:
            return
        try:
            self._send("goodbye", msgspec.json.encode(Goodbye(instance=self._instance, node=self.node)), within)
        except Failure as error:
            logger.debug("no goodbye: %s", describe(error))

    def _acknowledge(self, owed: _Owed) -> None:
        began = self._clock()
        try:
            answer = self._send("ack", self._words(owed, began), self._timing.ack_post)
        except Failure as error:
            self._try_later(describe(error))
            return
        if answer.status in _NO_SUCH_PATH:
            logger.debug("this server does not know acknowledgements")
            self._is_understood = False
            self._applied = self._refused = None
        elif answer.status < 300 or answer.status in _HOPELESS:
            self._is_expected = self._is_expected or answer.status < 300
            self._backoff.reset()
            self._said(owed, began)
        else:
            wanted = retry_after(answer.headers.get("Retry-After"), time.time(), self._timing.retry_after_longest)
            self._try_later(f"status {answer.status}", wanted)

    def _words(self, owed: _Owed, now: float) -> bytes:
        version = owed.version
        return msgspec.json.encode(
            Acknowledgement(
                instance=self._instance,
                epoch=version.epoch,
                revision=version.revision,
                applied=owed.error is None,
                held_ms=round(min(now - owed.since, _LONGEST_HELD) * 1000) if owed.error is None else msgspec.UNSET,
                error=owed.error or "",
                node=self.node,
            )
        )

    def _said(self, owed: _Owed, at: float) -> None:
        if owed.error is None:
            self._applied, self._told_applied = None, owed.version
            self._last = at
        else:
            self._refused, self._told_refused = None, owed.version

    def _try_later(self, why: str, wanted: float | None = None) -> None:
        # The application's log is not the place: its flags are what they should be, and the server shows who is silent.
        logger.debug("not acknowledged: %s", why)
        now = self._clock()
        if wanted is not None:
            self._asked_to_wait = now + spread(wanted, self._rng)  # all processes are told the same
        self._not_before = max(now + self._backoff.next(), self._asked_to_wait)

    def _draw(self) -> float:
        return self._rng.uniform(0.0, self._window)


def _read(version: str | None) -> Version | None:
    """Epoch and revision; ``None`` for a text that does not look like it, which no client should repeat."""
    found = _VERSION.fullmatch(version or "")
    return None if found is None else Version(found.group(1), int(found.group(2)))


def _is_later(version: Version, other: Version) -> bool:
    return version.epoch == other.epoch and version.revision > other.revision
