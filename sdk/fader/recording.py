"""What became of users, from the application's call until it is reported.

``record`` runs on the application's threads: it finds the side that a user is on, hashes the user and appends to a
list. It takes no lock, for appending is one step for the interpreter. Whoever finds that much has come together puts it
into sketches, if nobody else is at it.
"""

import math
import threading
import uuid
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from fader.comparison import Side, comparison
from fader.context import parts
from fader.durations import Durations, Stopwatch
from fader.model import Guard
from fader.outcomes import Arm, OutcomeReport, Outcomes, Sums
from fader.rollouts import Identify
from fader.sketches import HASH_BYTES, Sketch
from fader.snapshot import FlagSet

_MOST_WAITING: Final = 128
"""Hashes that come together before they are put into a sketch: 7 KB."""
_MOST_OVER: Final = 64
"""Guards that are over and wait for a last report."""
_MOST_GUARDS: Final = 30
"""Guards in one report, of some 16 KB each, so that it stays well below what servers accept."""

_PATIENCE: Final = 1.0
"""Seconds that reporting waits for somebody who is just putting entries into sketches."""

_Totals: TypeAlias = list[Any]
"""How many values there were, their sum, and the sum of their squares: bumped as counters are, without a lock."""


class RecordingError(ValueError):
    """What the application wants to record makes no sense."""


_TELLING = (RecordingError, TypeError)


class Tally:
    """What one guard has seen since the last report.

    There are four of everything: users of the control who did well, and who failed; the same of the treatment.

    Args:
        is_timed: Whether values are durations, in milliseconds.
    """

    __slots__ = ("_is_timed", "_lock", "_sketches", "_stopwatches", "_waiting", "of_nobody", "totals")

    def __init__(self, *, is_timed: bool = False) -> None:
        self._waiting: tuple[list[bytes], ...] = ([], [], [], [])
        self._sketches = _sketches()
        self._lock = threading.Lock()
        self._is_timed = is_timed
        self._stopwatches = self._fresh_stopwatches()
        self.totals = _totals()
        self.of_nobody = [0]

    def add(self, treated: bool, failed: bool, hashed: bytes, value: float | None) -> None:
        """Take in what became of a user."""
        if value is not None:
            totals = self.totals[treated]
            totals[0] += 1
            totals[1] += value
            totals[2] += value * value
            if self._is_timed:
                self._stopwatches[treated].add(value)
        waiting = self._waiting[2 * treated + failed]
        waiting.append(hashed)
        if len(waiting) >= _MOST_WAITING:
            self._settle_if_possible(waiting)

    def take(self) -> Outcomes | None:
        """All that has come, which is forgotten with that; ``None`` if nothing has.

        A value that is recorded in this very moment may be missing from the sums, but nobody from the sketches.
        """
        if not self._lock.acquire(timeout=_PATIENCE):
            return None  # next time
        try:
            self._settle()
            sketches, self._sketches = self._sketches, _sketches()
        finally:
            self._lock.release()
        totals, self.totals = self.totals, _totals()
        stopwatches, self._stopwatches = self._stopwatches, self._fresh_stopwatches()
        of_nobody, self.of_nobody = self.of_nobody, [0]
        if not any(sketches) and not of_nobody[0]:
            return None
        durations = [stopwatch.durations for stopwatch in stopwatches] or [Durations(), Durations()]
        control, treatment = (_arm(sketches[2 * side : 2 * side + 2], totals[side], durations[side]) for side in (0, 1))
        return Outcomes(treatment=treatment, control=control, of_nobody=of_nobody[0])

    def _fresh_stopwatches(self) -> tuple[Stopwatch, ...]:
        return (Stopwatch(), Stopwatch()) if self._is_timed else ()

    def _settle_if_possible(self, waiting: list[bytes]) -> None:
        # The application's threads do not wait for each other, nor a signal handler for the code that it interrupts.
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()
        elif len(waiting) > 2 * _MOST_WAITING:
            del waiting[:_MOST_WAITING]  # whoever is at it does not get to run: memory comes first

    def _settle(self) -> None:
        """Put those who wait into the sketches. Who is appended meanwhile comes after them."""
        for number, waiting in enumerate(self._waiting):
            if hashes := waiting[:]:
                del waiting[: len(hashes)]
                self._sketches[number].add(hashes)


def _totals() -> tuple[_Totals, _Totals]:
    return [0, 0.0, 0.0], [0, 0.0, 0.0]


def _sketches() -> tuple[Sketch, ...]:
    return Sketch(), Sketch(), Sketch(), Sketch()


def _arm(sketches: tuple[Sketch, ...], totals: _Totals, durations: Durations) -> Arm:
    exposed, failed = sketches
    exposed.merge(failed)  # who failed was there
    sums = Sums(count=totals[0], total=totals[1], squares=totals[2])
    return Arm(exposed=exposed.encode(), failed=failed.encode(), sums=sums, durations=durations)


class Watched(Struct, frozen=True):
    """Guards that compare the same users and hash them alike: those of one ramp."""

    side: Side
    identify: Identify
    hasher: Any
    tallies: tuple[tuple[Tally, float | None], ...]
    """Each with the milliseconds beyond which it is too slow, for a guard of latency: infinite ones while it learns."""


class Recorder:
    """Records where guards watch, which flags bring with them.

    Args:
        start: Starts the client, if that has not been done: called when something is recorded before ``begin``.
        complain: Says once for each cause that something cannot be recorded.
    """

    def __init__(self, start: Callable[[], None], complain: Callable[[str, str], None]) -> None:
        self._start = start
        self._complain = complain
        self._watched: Mapping[str, tuple[Watched, ...]] | None = None
        """By what is recorded. ``None`` until ``begin``: it is not known yet what is watched."""
        self._flags: FlagSet | None = None
        self._tallies: dict[str, Tally] = {}
        self._over: dict[str, Tally] = {}

    def begin(self) -> None:
        """From now on the flags that are followed say what is watched."""
        if self._watched is None:
            self._watched = {}
            if self._flags is not None:
                self.follow(self._flags)

    def follow(self, flags: FlagSet) -> None:
        """Watch what the guards of these flags do."""
        self._flags = flags
        if self._watched is None:
            return
        guards = flags.snapshot.guards
        if guards or self._tallies:
            before = self._tallies
            self._tallies = {
                guard.id: before.get(guard.id) or Tally(is_timed=_is_timed(guard))
                for some in guards.values()
                for guard in some
            }
            for id_, tally in before.items():
                if id_ not in self._tallies and len(self._over) < _MOST_OVER:
                    self._over[id_] = tally
        self._watched = self._comparisons(flags)

    def forget(self) -> None:
        """In a forked child: what the parent has recorded is the parent's to report."""
        self._tallies, self._over = {}, {}
        if self._flags is not None:
            self.follow(self._flags)

    def watches(self, metric: str) -> bool:
        """Whether a guard may be interested in what is recorded under this name."""
        try:
            return self._watched is None or metric in self._watched
        except Exception:  # noqa: BLE001 (what is no name at all; ``record`` says so)
            return True

    def record(self, metric: str, context: object, failed: bool, value: float | None) -> None:
        """As ``Client.record``."""
        try:
            if metric in self._watched:  # type: ignore[operator]  # what is wrong costs nothing until it happens
                self._record(self._watched[metric], context, failed, value)  # type: ignore[index]
        except Exception as error:  # noqa: BLE001 (never raises, whatever it is given)
            self._not_recorded(metric, context, failed, value, error)

    def refuse(self, metric: str, error: Exception) -> None:
        """Say that something cannot be recorded, and why."""
        kind = type(error).__name__
        shown = metric if type(metric) is str else f"<{type(metric).__name__}>"
        # Other errors, of things that broke when they were looked at, may hold anybody's data.
        why = str(error) if type(error) in _TELLING else f"that raised {kind}"
        self._complain(f"record {kind}", f"an outcome of {shown!r} is not recorded: {why}")

    def _not_recorded(self, metric: str, context: object, failed: bool, value: float | None, error: Exception) -> None:
        if self._watched is not None:
            self.refuse(metric, error)
            return
        try:
            self._start()
        except Exception as failure:  # noqa: BLE001 (as above)
            self.refuse(metric, failure)
            return
        if self._watched is not None:  # else somebody keeps the client from starting, as tests do
            self.record(metric, context, failed, value)

    def _record(self, watched: tuple[Watched, ...], context: object, failed: bool, value: float | None) -> None:
        if value is not None:
            value = _finite(value)
        key, attributes = parts(context)
        for each in watched:
            treated = each.side(key, attributes)
            if treated is None:
                continue
            identified = each.identify(key, attributes)
            if identified is None:
                for tally, _ in each.tallies:
                    tally.of_nobody[0] += 1
                continue
            hasher = each.hasher.copy()
            hasher.update(identified.encode())
            hashed = hasher.digest()
            for tally, slow in each.tallies:
                if slow is None:
                    tally.add(treated, bool(failed), hashed, value)
                elif value is not None:
                    tally.add(treated, value > slow, hashed, value)

    def take(self, most: int = _MOST_GUARDS) -> dict[str, Outcomes]:
        """What guards have seen since it was last taken, of so many guards at most."""
        taken: dict[str, Outcomes] = {}
        for id_ in list(self._over):
            if len(taken) < most and (outcomes := self._over.pop(id_).take()) is not None:
                taken[id_] = outcomes
        for id_, tally in list(self._tallies.items()):
            if len(taken) < most and (outcomes := tally.take()) is not None:
                taken[id_] = outcomes
        return taken

    def _comparisons(self, flags: FlagSet) -> dict[str, tuple[Watched, ...]]:
        alike: dict[tuple[str, str, str, str], list[tuple[Tally, float | None]]] = {}
        for flag, guards in flags.snapshot.guards.items():
            for guard in guards:
                slow = math.inf if guard.timed and guard.slower_than_ms is None else guard.slower_than_ms
                seen = (self._tallies[guard.id], slow)
                alike.setdefault((guard.metric, flag, guard.rule, guard.hash_key), []).append(seen)
        watched: dict[str, tuple[Watched, ...]] = {}
        for (metric, flag, rule, hash_key), tallies in alike.items():
            try:
                compared = comparison(flags, flag, rule)
            except Exception:  # noqa: BLE001 (a flag that cannot be compiled must not cost the others their change)
                compared = None
            if compared is not None:
                hasher = blake2b(key=_key(hash_key), digest_size=HASH_BYTES)
                one = Watched(compared.side, compared.identify, hasher, tuple(tallies))
                watched[metric] = (*watched.get(metric, ()), one)
        return watched


def _is_timed(guard: Guard) -> bool:
    return guard.timed or guard.slower_than_ms is not None


def _finite(value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise RecordingError("a value has to be a finite number")
    return number


def _key(text: str) -> bytes:
    # Whatever the server has given out: the flags themselves must not fail for a key that is no hexadecimal.
    try:
        return bytes.fromhex(text)[:64]
    except ValueError:
        return text.encode("utf-8", "replace")[:64]


class OutcomeReports:
    """Makes reports of what a recorder has.

    Args:
        recorder: Where outcomes come from.
        instance: The name of this process.
        app: The application's name.
    """

    subject = "outcomes"

    def __init__(self, recorder: Recorder, instance: str, app: str) -> None:
        self._recorder = recorder
        self._instance = instance
        self._app = app

    def next_report(self) -> bytes | None:
        """What was recorded since the last report, as much as one report takes; ``None`` if nothing was."""
        guards = self._recorder.take()
        if not guards:
            return None
        report = OutcomeReport(id=str(uuid.uuid4()), instance=self._instance, app=self._app, guards=guards)
        return msgspec.json.encode(report)
