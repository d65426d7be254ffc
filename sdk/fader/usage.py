"""How often each flag gave each variant, as reports to the server. Numbers only: nothing of any context leaves.

Evaluation only ever adds to counters. They are never reset: a report is the difference to what was reported before,
so that counting needs no lock, and nothing is lost while the server is away.
"""

import itertools
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

_MOST_FLAGS: Final = 2_000
"""Flags in one report, so that it stays well below what servers accept; what is left goes with the next."""
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
        self._flags = {key: dict(variants) for key, variants in usage.flags().items()}
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
        while True:
            report = self._unconfirmed = self._unconfirmed or self._next_report()
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
        if answer.status < 300:
            self._journal.mended("usage")
            return None
        if answer.status in _HOPELESS:
            self._journal.note("usage", f"the server refuses usage counts with status {answer.status}")
            return None
        self._note(f"status {answer.status}")
        wanted = retry_after(answer.headers.get("Retry-After"), time.time(), self._timing.retry_after_longest)
        return wanted or 0.0

    def _note(self, why: str) -> None:
        if self._journal.transport is not None:  # otherwise it has been said already that the server is away
            self._journal.note("usage", f"usage counts do not get through ({why}); they are kept")

    def _next_report(self) -> bytes | None:
        """What was counted since the last report, as much as one report takes; ``None`` if nothing was."""
        flags = _differences(self._usage.flags(), self._flags)
        unknown = _difference(self._usage.unknown(), self._unknown)
        if not flags and not unknown:
            return None
        flags = dict(itertools.islice(flags.items(), _MOST_FLAGS))
        since, self._since = self._since, _now()
        for key, variants in flags.items():
            _add(self._flags.setdefault(key, {}), variants)
        _add(self._unknown, unknown)
        report = Report(
            instance=self._instance,
            app=self._app,
            id=str(uuid.uuid4()),
            started=since,
            ended=self._since,
            flags=flags,
            unknown=unknown,
        )
        return msgspec.json.encode(report)


def _differences(now: Counts, before: Counts) -> dict[str, dict[str, int]]:
    news = {key: _difference(variants, before.get(key, {})) for key, variants in now.items()}
    return {key: variants for key, variants in news.items() if variants}


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
