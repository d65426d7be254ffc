"""The daemon thread: keeps a client's flags the same as the server's, for as long as the process lives.

All of a client's I/O happens here, so that evaluation never does any. Nothing that a server answers, or that the
network does, ends the thread.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from fader.acknowledging import Acknowledger
from fader.backoff import retry_after
from fader.config import Settings, Timing
from fader.forking import forks_without_warning
from fader.model import Change, Snapshot
from fader.payloads import PayloadError, read_snapshot
from fader.plan import Outcome, Plan, Result
from fader.revisions import Verdict
from fader.status import Journal, logger
from fader.stream import StreamReader
from fader.transport import Answer, Failure, Report, Transport, Word, describe
from fader.trust import Trust

_REFUSALS: Final = frozenset({401, 403, 404, 405})
_NOT_THIS_KEY: Final = frozenset({401, 403})
_NO_STREAMS: Final = frozenset({406, 415, 501})
_GLANCE: Final = 0.002
_LONGEST_NAP: Final = 60.0
_FORKED_BY_THEN: Final = 2.0
_SETTLED_AFTER: Final = 0.25
"""A resumed stream says nothing if nothing has changed. After this many seconds of that, nothing has. (Servers say by
``Fader-Version`` what their first event brings a client to; this is for what strips headers on the way.)"""


class Follower(Protocol):
    """What is kept up to date."""

    @property
    def version(self) -> str | None:
        """Epoch and revision held, ``None`` while there is nothing."""

    @property
    def revision(self) -> int | None:
        """The revision held."""

    @property
    def is_complete(self) -> bool:
        """Whether everything is here that it names."""

    def receive(self, news: Snapshot | Change) -> Verdict:
        """Take in what the server has sent."""


class Chore(Protocol):
    """Something that the thread does beside following."""

    def run_if_due(self, now: float) -> float:
        """Do it if it is time.

        Args:
            now: The present time, in seconds of ``time.monotonic``.

        Returns:
            Seconds until it will be time.
        """

    def finish(self, within: float) -> None:
        """Do it a last time, in ``within`` seconds at most."""


class Synchronizer:
    """One thread that follows one server. It is started once and not used again after it was stopped.

    Args:
        settings: Whom to follow, and how.
        trust: How to reach and to verify it.
        timing: How patient to be.
        instance: The name of this process.
        follower: What to keep up to date.
        journal: Whom to tell how it goes.
    """

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        timing: Timing,
        instance: str,
        follower: Follower,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._timing = timing
        self._instance = instance
        self._follower = follower
        self._journal = journal
        self._plan = Plan(timing, streaming=settings.streaming, poll_interval=settings.poll_interval)
        # Applications wait for their flags and are forked then, which is no moment for a thread to be busy.
        quiet = _FORKED_BY_THEN if forks_without_warning() else 0.0
        self.acknowledger = Acknowledger(instance, timing, self._say, quiet, lambda: follower.is_complete)
        """The chore of telling the server what has become of the flags."""
        self._chores: Sequence[Chore] = ()
        self._transport: Transport | None = None
        self._ask_afresh = False
        self._alive_since: float | None = None
        self.confirmed = False
        """Whether the server has confirmed the flags, or sent them, since this thread runs."""
        self._stopping = False
        self._abandoned = False
        self._ended = False
        self._stop_by = 0.0
        # Looked up now, not at import: a process may have been monkey-patched in between. Of the queues this is the one
        # that a signal handler may use at any time, and that has no lock which a fork could leave held.
        self._wake: Any = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fader", daemon=True)

    def start(self, chores: Sequence[Chore]) -> None:
        """Start the thread, which looks after ``chores`` too."""
        self._chores = chores
        if self._stopping:
            self._ended = True
        else:
            self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end: at once if it waits, and after a last round of chores. ``ended`` waits for it."""
        self._stop_by = time.monotonic() + self._timing.close
        self._stopping = True
        self._wake.put(None)
        if self._transport is not None:
            self._transport.stop_listening()

    def ended(self) -> None:
        """Wait until the thread has ended, at most until ``timing.close`` seconds after it was told to.

        What keeps it longer is a connection that is being made; it then ends by itself when that comes to something.
        """
        if threading.current_thread() is self._thread:
            return  # a listener closes its client
        # Not a join: where the thread is a real one and the caller a greenlet, it would hold up all other greenlets.
        while not self._ended and time.monotonic() < self._stop_by:
            time.sleep(_GLANCE)
        if self._transport is not None:
            self._transport.close()

    def gone(self) -> None:
        """As ``ended``, and wait until Python has forgotten the thread too. Not for signal handlers and greenlets."""
        self.ended()
        if not self._ended:
            # It is still connecting. When that comes to an end, another one may be following: it is no news any longer.
            self._journal = Journal("")
        elif self._thread.is_alive():
            self._thread.join(self._timing.close)

    def abandon(self) -> None:
        """In a forked child, where the thread does not exist: let go of its connections.

        (Where it is a greenlet it does exist, and ends here, without another word to the server.)
        """
        self._abandoned = self._stopping = True
        if self._transport is not None:
            self._transport.abandon()

    def report(self, what: Report, payload: bytes, within: float) -> Answer:
        """As ``Transport.report``. For chores, on the thread."""
        return self._connected().report(what, payload, within)

    def _say(self, word: Word, payload: bytes, within: float) -> Answer:
        return self._connected().tell(word, payload, within)

    def _connected(self) -> Transport:
        if self._transport is None:
            raise OSError("not connected yet")
        return self._transport

    def members(self, segment: str, which: Mapping[str, str], first: int, last: int, within: float) -> Answer:
        """As ``Transport.members``. For chores, on the thread."""
        return self._connected().members(segment, which, first, last, within)

    def _run(self) -> None:
        self._follow()
        if not self._abandoned:
            for chore in self._chores:
                self._protect(lambda chore=chore: chore.finish(self._stop_by - time.monotonic()))  # type: ignore[misc]
            if self._transport is not None:
                self._transport.close()
            self._journal.ended()
        self._ended = True
        # A thread that was started before gevent patched the process, and a greenlet that was inherited in a fork, are
        # not known to `threading` any longer, which would complain about their end. So they have none.
        while self._abandoned or threading.get_ident() != self._thread.ident:
            self._wake.get()

    def _follow(self) -> None:
        while not self._stopping:
            try:
                outcome = self._attempt()
            except Exception as error:  # noqa: BLE001 (our own mistake must not cost the process its flags)
                logger.debug("unexpected", exc_info=True)
                outcome = Outcome(Result.FAILED, f"unexpected {type(error).__name__}: {error}")
            self._alive_since = None
            if not self._stopping:
                self._tell(outcome)
                self._sleep(self._plan.pause_after(outcome, time.monotonic()))

    def _attempt(self) -> Outcome:
        if self._transport is None:
            try:
                self._transport = Transport(self._settings, self._trust, self._timing, self._instance, self._do_chores)
            except (OSError, ValueError) as error:
                return Outcome(Result.FAILED, describe(error))
            if self._stopping:
                return Outcome(Result.ENDED)
        if self._plan.streams(time.monotonic()):
            return self._stream(self._transport)
        return self._poll(self._transport)

    def _stream(self, transport: Transport) -> Outcome:
        try:
            stream = transport.stream(None if self._ask_afresh else self._follower.version, self.acknowledger.node)
        except TimeoutError as error:
            return Outcome(Result.BLOCKED, describe(error))
        except Failure as error:
            return Outcome(Result.FAILED, describe(error))
        try:
            if stream.status != 200:
                return self._refused(stream.status, stream.headers.get("Retry-After"), Result.FAILED)
            if not stream.headers.get("Content-Type", "").startswith("text/event-stream"):
                return Outcome(Result.BLOCKED, "what answers is not an event stream")
            self.acknowledger.connected(stream.headers.get("Fader-Node"))
            announced = stream.headers.get("Fader-Version")
            reader = StreamReader(
                stream,
                self._timing,
                self._follower.receive,
                on_life=lambda: self._came_alive(announced),
                on_news=self._heard,
                on_refusal=self.acknowledger.refused,
            )
            outcome = reader.run()
            self._ask_afresh = reader.ask_afresh
            return outcome
        finally:
            stream.close()

    def _poll(self, transport: Transport) -> Outcome:
        version = None if self._ask_afresh else self._follower.version
        try:
            answer = transport.snapshot(version)
        except Failure as error:
            return Outcome(Result.POLL_FAILED, describe(error))
        if answer.status == 200:
            try:
                self._follower.receive(read_snapshot(answer.body))
            except PayloadError as error:
                self.acknowledger.refused_poll(_version_of(answer.headers.get("ETag")), str(error))
                return Outcome(Result.POLL_FAILED, f"bad data: {error}", phase="bad data")
        elif answer.status != 304 or version is None:
            return self._refused(answer.status, answer.headers.get("Retry-After"), Result.POLL_FAILED)
        self._ask_afresh = False
        self.confirmed = True
        self._journal.following("poll", self._follower.revision)
        return Outcome(Result.POLLED)

    def _refused(self, status: int, wait: str | None, otherwise: Result) -> Outcome:
        wanted = retry_after(wait, time.time(), self._timing.retry_after_longest)
        if status in _REFUSALS:
            mend = "is the SDK key right?" if status in _NOT_THIS_KEY else "is the URL that of a Fader server?"
            return Outcome(Result.REFUSED, f"it answers with status {status}; {mend}", wanted, phase=f"status {status}")
        if status in _NO_STREAMS and otherwise is Result.FAILED:
            return Outcome(Result.UNFIT, f"it has no streams, says status {status}", wanted)
        return Outcome(otherwise, f"it answers with status {status}", wanted)

    def _came_alive(self, announced: str | None) -> None:
        self._plan.got_through()
        if announced is None:
            self._alive_since = time.monotonic()
        elif announced == self._follower.version:
            self._up_to_date()

    def _heard(self, ack_within_ms: int) -> None:
        self._up_to_date()
        self.acknowledger.applied(self._follower.version, ack_within_ms)

    def _up_to_date(self) -> None:
        self._alive_since = None
        self.confirmed = True
        self._journal.following("stream", self._follower.revision)

    def _settle(self) -> None:
        self._alive_since = None
        if self._follower.version is not None:
            self._up_to_date()

    def _tell(self, outcome: Outcome) -> None:
        if outcome.result is Result.ENDED:
            self._journal.ended()
        elif outcome.result is not Result.POLLED:
            self._journal.trouble(outcome.phase, outcome.detail)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            try:
                self._wake.get(timeout=max(0.001, min(left, self._do_chores())))
            except queue.Empty:
                continue

    def _do_chores(self) -> float:
        now = time.monotonic()
        nap = _LONGEST_NAP
        if self._alive_since is not None:
            left = self._alive_since + _SETTLED_AFTER - now
            if left <= 0:
                self._settle()
            else:
                nap = max(left, 0.01)
        for chore in self._chores:
            nap = min(nap, self._protect(lambda chore=chore: chore.run_if_due(now)))  # type: ignore[misc]
        return nap

    def _protect(self, chore: Callable[[], float | None]) -> float:
        try:
            left = chore()
        except Exception as error:  # noqa: BLE001 (nor must a mistake in what is done beside following them)
            self._journal.note(type(error).__name__, f"unexpected {type(error).__name__}: {error}")
            left = None
        return _LONGEST_NAP if left is None else left


def _version_of(etag: str | None) -> str | None:
    """What a snapshot's tag names; weak where something between has compressed the body (RFC 9110, 8.8.3)."""
    return None if etag is None else etag.removeprefix("W/").strip('"')
