"""Who may have a stream or a snapshot now, and who has to come back later: so that ten thousand SDKs that lost a server
in the same moment do not take down the one that they come to.

Whoever is refused answers with the flags it has. What it costs to be served decides: a stream that goes on from where
it was is sent what has changed, a new one is sent everything.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from fader_server.api.turnstile import Turnstile
from fader_server.errors import Busy, TooManyRequests
from fader_server.telemetry.catalogue import Limit, StreamEvent

_EACH: Final = 16_384
"""What a snapshot costs besides its bytes, in bytes: a request is work even if little is sent."""

_EACH_EVALUATION: Final = 2_048
"""The same of an answer that is written anew for each who asks, and grows with the number of flags as the work does."""

_BURST: Final = 2.0
"""Seconds' worth that may be used at once after a quiet time."""

_LONGEST: Final = 120.0
"""Seconds after which everybody has been asked to come back. SDKs wait for up to as long again."""

_FULL: Final = 60
"""Seconds after which to come back for a key that has all the streams that it may have."""


class AdmissionLimits(Struct, frozen=True, kw_only=True):
    """How much is let in.

    Args:
        snapshot_bytes_per_second: Of whole snapshots, on streams and by request; and, apart from these, of answers
            with the values of all flags.
        resumes_per_second: Streams that go on from where they were.
        streams_per_key: That may be open at once.
        member_bytes_per_second: Of long lists of segments' members.
    """

    snapshot_bytes_per_second: float
    resumes_per_second: float
    streams_per_key: int
    member_bytes_per_second: float


class Admission:
    """Lets in, or raises.

    Args:
        limits: How much.
        clock: Seconds that do not go back.
        refused: Whom to tell of those who were not let in.
    """

    def __init__(self, limits: AdmissionLimits, clock: Callable[[], float], refused: Callable[[Limit], None]) -> None:
        self._limits = limits
        self._clock = clock
        self._refused = refused
        self._streams: dict[str, int] = {}
        self._snapshots = _turnstile(limits.snapshot_bytes_per_second, clock())
        self._evaluations = _turnstile(limits.snapshot_bytes_per_second, clock())
        self._resumes = _turnstile(limits.resumes_per_second, clock())
        self._members = _turnstile(limits.member_bytes_per_second, clock())

    @contextmanager
    def stream(self, key_id: str) -> Iterator[None]:
        """One more stream of this key, for as long as the context is open.

        Raises:
            TooManyRequests: if it has as many as it may have.
        """
        count = self._streams.get(key_id, 0)
        if count >= self._limits.streams_per_key:
            self._refused("streams_per_key")
            raise TooManyRequests(f"This SDK key has {count:,} streams open on this server.", retry_after=_FULL)
        self._streams[key_id] = count + 1
        try:
            yield
        finally:
            self._streams[key_id] -= 1
            if not self._streams[key_id]:
                del self._streams[key_id]

    def begin_stream(self, event: StreamEvent, size: int) -> None:
        """Open a stream whose first event is of this kind and size.

        Raises:
            Busy: not now.
        """
        if event == "snapshot":
            self.snapshot(size)
        else:
            self.resume()

    def snapshot(self, size: int) -> None:
        """Send everything, in so many bytes.

        Raises:
            Busy: not now.
        """
        wait = self._snapshots.enter(size + _EACH, self._clock())
        if wait:
            self._refused("snapshots")
            raise Busy("More snapshots are asked for than this server sends at once.", retry_after=math.ceil(wait))

    def lets_snapshot_in(self, size: int) -> bool:
        """As ``snapshot``, for who goes on asking there if not."""
        return self._snapshots.lets_in(size + _EACH, self._clock())

    def has_room_for_snapshot(self, size: int) -> bool:
        """Whether one of so many bytes could be sent now. Nothing is counted."""
        return self._snapshots.level(self._clock()) >= size + _EACH

    def members(self, size: int) -> None:
        """Send a part of a long list, in so many bytes. It has an allowance of its own, so that nobody waits for a
        snapshot because others fetch a list.

        Raises:
            Busy: not now.
        """
        wait = self._members.enter(size + _EACH, self._clock())
        if wait:
            self._refused("members")
            raise Busy("More members are asked for than this server sends at once.", retry_after=math.ceil(wait))

    def evaluation(self, size: int) -> None:
        """Evaluate all flags, in about so many bytes. It has an allowance of its own, so that no SDK waits for a
        snapshot because a page is open in many browsers.

        Raises:
            TooManyRequests: not now. (It is the one status after which clients of others wait for as long as they are
                told to.)
        """
        wait = self._evaluations.enter(size + _EACH_EVALUATION, self._clock())
        if wait:
            self._refused("evaluations")
            raise TooManyRequests("More is asked for than this server evaluates at once.", retry_after=math.ceil(wait))

    def resume(self) -> None:
        """Send what has changed.

        Raises:
            Busy: not now.
        """
        wait = self._resumes.enter(1.0, self._clock())
        if wait:
            self._refused("resumes")
            raise Busy("More streams are asked for than this server opens at once.", retry_after=math.ceil(wait))


def _turnstile(rate: float, now: float) -> Turnstile:
    return Turnstile(rate, rate * _BURST, _LONGEST, now)
