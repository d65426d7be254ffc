"""The life of a client: it is started once, goes on in forked children, and is closed.

Everything here is off the way of evaluation, and safe to be called by any thread, in signal handlers, and in processes
that gevent has patched.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from fader import forking, patching
from fader.config import Settings, Timing
from fader.counters import UsageCounters
from fader.dark_launches import DarkLaunches
from fader.holder import FlagHolder
from fader.recording import Recorder
from fader.snapshot import FlagSet
from fader.status import Journal, State, Status, logger
from fader.watching import StatusWatch

if TYPE_CHECKING:
    from fader.session import Session
    from fader.trust import Trust

_GLANCE = 0.005
"""Seconds between looks at whether the flags have come. Looking works under every kind of threads and greenlets."""


class Runtime:
    """What a client is beside its questions: where its flags are, and what keeps them up to date.

    Args:
        publish: Takes the flags to evaluate with, at once and whenever they become different ones.
        timing: How patient to be.
        ask: Gives the settings when the client is first used; without it, ``start`` is told them.
    """

    def __init__(
        self, publish: Callable[[FlagSet], None], timing: Timing, ask: Callable[[], Settings] | None = None
    ) -> None:
        self._publish_flags = publish
        self.counters = UsageCounters()
        self.journal = Journal("the flag server")
        self.recorder = Recorder(self.ensure_started, lambda cause, detail: self.journal.complain(cause, detail))
        if ask is None:
            self.recorder.begin()
        self.dark_launches = DarkLaunches(
            self.recorder, self.counters, lambda cause, detail: self.journal.complain(cause, detail)
        )
        self.holder = FlagHolder(self._publish, self.counters)
        self.watch = StatusWatch(lambda: self.status, timing.grace)
        self._timing = timing
        self._ask = ask
        self._settings: Settings | None = None
        self._session: Session | None = None
        self._started = False
        self._closed = False
        self._paused = False
        self._pid = os.getpid()
        self._lock = threading.RLock()
        forking.register(self)

    @property
    def ready(self) -> bool:
        """Whether the server has sent or confirmed the flags since this process began."""
        session = self._session
        return session is not None and session.confirmed

    @property
    def status(self) -> Status:
        """How far the answers can be trusted to be the present ones, and why not further."""
        snapshot, transport = self.holder.snapshot, self.journal.transport
        if snapshot is None:
            state = State.OFFLINE
        else:
            state = State.READY if transport is not None and (self._session is None or self.ready) else State.STALE
        return Status(
            state=state,
            revision=None if snapshot is None else snapshot.revision,
            environment=None if snapshot is None else snapshot.environment,
            transport=transport,
            last_error=self.journal.last_error,
        )

    def start(self, told: Settings) -> None:
        """Start, unless it was done before, or another thread is doing it."""
        # That one's flags will be there soon. Waiting for them is not for evaluation, which may have come here.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if not self._started and not self._closed:
                self._begin(told)
                self._started = True
        finally:
            self._lock.release()

    def ensure_started(self) -> None:
        """Start what starts when it is first used; and start again in a child whose fork ran no hooks."""
        self.notice_fork()
        if self._ask is not None and not self._started and not self.holder.isolated:
            self.start(self._ask())

    def wait_until_ready(self, timeout: float) -> bool:
        """As ``Client.wait_until_ready``."""
        self.ensure_started()
        deadline = time.monotonic() + timeout
        while not (self.ready and self.holder.is_complete):
            if self.holder.isolated:
                return True
            if self._session is None and (self._started or self._closed or self._ask is None):
                return self.holder.snapshot is not None
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, _GLANCE))
        return True

    def begin_to_close(self) -> "Session | None":
        """Tell everything to end; returns what to wait for."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
        if session is None:
            return None
        if session.pid != os.getpid():
            session.abandon()  # a fork that ran no hooks; the connection is the parent's
            return None
        session.stop()
        return session

    def close(self) -> None:
        """As ``Client.close``."""
        session = self.begin_to_close()
        if session is not None:
            session.ended()

    def notice_fork(self) -> None:
        """Start again if this is a child now, and no hook has said so."""
        if self._pid != os.getpid() and (start := self.after_fork()) is not None:
            start()

    def after_fork(self) -> Callable[[], None] | None:
        """In a forked child: leave everything of the parent's alone, and prepare to start again.

        Returns:
            What starts again, if there is anything to start.
        """
        if self._pid == os.getpid():
            return None
        self._pid = os.getpid()
        self._paused = False
        # Threads that do not exist here may have held the locks in the moment of the fork.
        self._lock = threading.RLock()
        self.holder.renew_lock()
        self.recorder.forget()
        session, told = self._session, self._settings
        if session is None or told is None:
            return None
        self.journal.ended()
        session.abandon()
        self._session = self._new_session(told, session.trust)
        return self._session.start

    def pause(self) -> "Session | None":
        """Tell the thread to end until ``resume``; returns what to wait for."""
        with self._lock:
            session = self._session
            if session is None or session.pid != os.getpid():
                return None
            self._paused = True
        session.stop()
        return session

    def resume(self) -> Callable[[], None] | None:
        """Prepare to go on after ``pause``.

        Returns:
            What starts again, if there is anything to start.
        """
        with self._lock:
            paused, self._paused = self._paused, False
            session, told = self._session, self._settings
            if not paused or session is None or told is None:
                return None
            self.journal.ended()
            self._session = self._new_session(told, session.trust)
            return self._session.start

    def _publish(self, flags: FlagSet) -> None:
        self._publish_flags(flags)
        self.recorder.follow(flags)

    def _begin(self, told: Settings) -> None:
        # All that a running client needs is imported here: on the application's thread, but not with ``fader``.
        from fader.session import load_copy

        self._settings = told
        self.journal = Journal(told.url)
        self.recorder.begin()
        if told.app:
            self.holder.use_app(told.app)
        for problem in told.problems:
            logger.warning("%s", problem)
        load_copy(told, self.holder, self.journal)
        if not told.offline:
            forking.prepare_host()
            patching.listen()
            self._session = self._new_session(told)
            try:
                self._session.start()
            except RuntimeError as error:
                # The system has no more threads, or the interpreter is at its end: neither is our caller's trouble.
                self._session = None
                self.journal.trouble("thread", f"no thread can be started: {error}")

    def _new_session(self, told: Settings, trust: "Trust | None" = None) -> "Session":
        from fader.session import Session

        _running.add(self)
        return Session(told, self._timing, self.holder, self.counters, self.recorder, self.watch, self.journal, trust)


_running: "weakref.WeakSet[Runtime]" = weakref.WeakSet()


def _close_all() -> None:
    # First tell all, then wait for all, so that the time limit is that of one.
    sessions = [runtime.begin_to_close() for runtime in list(_running)]
    for session in sessions:
        if session is not None:
            session.ended()


def _pause_all() -> None:
    sessions = [runtime.pause() for runtime in list(_running)]
    for session in sessions:
        if session is not None:
            session.gone()


def _resume_all() -> list[Callable[[], None]]:
    return [start for runtime in list(_running) if (start := runtime.resume()) is not None]


forking.register_ending(_close_all)
patching.register(_pause_all, _resume_all)
