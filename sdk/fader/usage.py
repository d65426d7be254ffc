"""How often each flag gave each variant, as reports to the server. Numbers only: nothing of any context leaves.

Evaluation only ever adds to counters. They are never reset: a report is the difference to what was reported before,
so that counting needs no lock, and nothing is lost while the server is away.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

import msgspec

from fader.backoff import retry_after
from fader.config import Timing
from fader.status import Journal
from fader.transport import Answer, Failure, describe

Counts: TypeAlias = Mapping[str, Mapping[str, int]]
"""Flag key to variant to number."""

_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""Statuses that the same report would get again."""


class Usage(Protocol):
    """Where the counts come from."""

    def flags(self) -> Counts:
        """All counts since the process began, by flag and variant."""

    def unknown(self) -> Mapping[str, int]:
        """The same of keys that no flag has."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent."""

    instance: str
    app: str
    id: str
    started: str
    ended: str
    flags: dict[str, dict[str, int]]
    unknown: dict[str, int]


class Reporter:
    """The chore of reporting.

    Args:
        usage: Where the counts come from. What it holds now is taken as reported: in a forked child, by the parent.
        instance: The name of this process.
        app: The application's name.
        timing: How often, and how patient to be.
        send: Posts a report within a number of seconds.
        journal: Whom to tell how it goes.
    """

    def __init__(
        self,
        usage: Usage,
        instance: str,
        app: str,
        timing: Timing,
        send: Callable[[bytes, float], Answer],
        journal: Journal,
    ) -> None:
        self._usage = usage
        self._instance = instance
        self._app = app
        self._timing = timing
        self._send = send
        self._journal = journal
        self._flags = _copy(usage.flags())
        self._unknown = dict(usage.unknown())
        self._since = _now()
        self._due = time.monotonic() + timing.usage_flush
        # A report that may or may not have arrived. It is sent again as it is, so that the server can tell by its id;
        # what is counted meanwhile waits in the counters, so however long the server is away, this is all there is.
        self._unconfirmed: bytes | None = None

    def run_if_due(self, now: float) -> float:
        """Report if it is time; returns the seconds until it will be."""
        if now >= self._due:
            self._due = now + self._timing.usage_flush
            wanted = self._flush(time.monotonic() + self._timing.usage_post)
            self._due = max(self._due, time.monotonic() + wanted)
        return self._due - now

    def finish(self, within: float) -> None:
        """Report a last time."""
        self._flush(time.monotonic() + within)

    def _flush(self, deadline: float) -> float:
        """Send what there is; returns how long the server asks to wait before the next report."""
        if self._unconfirmed is None:
            self._unconfirmed = self._next_report()
        elif (wait := self._post(deadline)) is not None:
            return wait
        else:
            self._unconfirmed = self._next_report()
        return (self._post(deadline) if self._unconfirmed is not None else None) or 0.0

    def _post(self, deadline: float) -> float | None:
        """Send the unconfirmed report; ``None`` if that settles it, else the seconds that the server asks to wait."""
        assert self._unconfirmed is not None
        within = deadline - time.monotonic()
        if within <= 0:
            return 0.0
        try:
            answer = self._send(self._unconfirmed, within)
        except Failure as error:
            self._note(describe(error))
            return 0.0
        if answer.status < 300 or answer.status in _HOPELESS:
            self._unconfirmed = None
            if answer.status < 300:
                self._journal.mended("usage")
            else:
                self._journal.note("usage", f"the server refuses usage counts with status {answer.status}")
            return None
        self._note(f"status {answer.status}")
        wanted = retry_after(answer.headers.get("Retry-After"), time.time(), self._timing.retry_after_longest)
        return wanted or 0.0

    def _note(self, why: str) -> None:
        if self._journal.transport is not None:  # otherwise it has been said already that the server is away
            self._journal.note("usage", f"usage counts do not get through ({why}); they are kept")

    def _next_report(self) -> bytes | None:
        """What was counted since the last report, or ``None`` if nothing was."""
        flags, unknown = _copy(self._usage.flags()), dict(self._usage.unknown())
        new_flags = {
            key: new for key, variants in flags.items() if (new := _difference(variants, self._flags.get(key, {})))
        }
        new_unknown = _difference(unknown, self._unknown)
        if not new_flags and not new_unknown:
            return None
        since, self._since = self._since, _now()
        self._flags, self._unknown = flags, unknown
        report = Report(
            instance=self._instance,
            app=self._app,
            id=str(uuid.uuid4()),
            started=since,
            ended=self._since,
            flags=new_flags,
            unknown=new_unknown,
        )
        return msgspec.json.encode(report)


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}


def _copy(counts: Counts) -> dict[str, dict[str, int]]:
    return {key: dict(variants) for key, variants in counts.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
