"""Tells listeners how a client is doing, once that has lasted: connections come and go without anybody's harm."""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

from fader.listening import Listening
from fader.status import State, Status

StatusListener: TypeAlias = Callable[[Status], object]

_IDLE: Final = 60.0


class StatusWatch:
    """The chore of telling. It belongs to a client and not to a thread: a forked child goes on where its parent was.

    Args:
        status: Gives the present status.
        grace: Seconds for which a state other than ``READY`` must have lasted to be told.
        clock: Gives the time, in seconds of ``time.monotonic``.
    """

    def __init__(self, status: Callable[[], Status], grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._status = status
        self._grace = grace
        self._clock = clock
        # Appending to a list, removing from it and copying it are one step each for the interpreter.
        self._watchers: list[_Watcher] = []

    def listen(self, callback: StatusListener) -> Callable[[], None]:
        """Call ``callback`` with the status, now and whenever its state is another; returns what ends it."""
        watcher = _Watcher(callback, self._grace, self._clock())
        self._watchers.append(watcher)

        def unsubscribe() -> None:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

        return unsubscribe

    def run_if_due(self, now: float) -> float:
        """Tell those that have to be told; returns the seconds until more may have to."""
        if not self._watchers:
            return _IDLE
        status = self._status()
        return min([watcher.look(status, now) for watcher in self._watchers.copy()], default=_IDLE)

    def finish(self, within: float) -> None:
        """Nothing: who closes a client knows that it is closed."""


class _Watcher:
    """One listener, what it was told last, and since when that is no longer so."""

    def __init__(self, callback: StatusListener, grace: float, now: float) -> None:
        self._tell: Listening[Status] = Listening(callback, "the status")
        self._grace = grace
        self._told: State | None = None
        self._since: float | None = now

    def look(self, status: Status, now: float) -> float:
        """Tell the listener if it is time; returns the seconds until it may be."""
        if status.state is self._told:
            self._since = None
        else:
            self._since = now if self._since is None else self._since
            if status.state is State.READY or now - self._since >= self._grace:
                self._told, self._since = status.state, None
                self._tell(status)
        return _IDLE if self._since is None else max(self._since + self._grace - now, 0.0)
