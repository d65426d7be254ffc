"""How often each flag gave each variant, as reports to the server. Numbers only: nothing of any context leaves.

Evaluation only ever adds to counters. They are never reset: a report is the difference to what was reported before,
so that counting needs no lock, and nothing is lost while the server is away.
"""

import itertools
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

import msgspec

Counts: TypeAlias = Mapping[str, Mapping[str, int]]
"""Flag key to variant to number."""

_MOST_FLAGS: Final = 2_000
"""Flags in one report, so that it stays well below what servers accept; what is left goes with the next."""
_MOST_DARK_LAUNCHES: Final = 500
"""The same of flags that are launched darkly."""


class Usage(Protocol):
    """Where the counts come from."""

    def flags(self) -> Counts:
        """All counts since the process began, by flag and variant."""

    def unknown(self) -> Mapping[str, int]:
        """The same of keys that no flag has."""

    def dark_launches(self) -> Counts:
        """What became of dark launches, by flag and what is counted."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent."""

    instance: str
    app: str
    id: str
    started: str
    ended: str
    flags: dict[str, dict[str, int]]
    unknown: dict[str, int]
    dark_launches: dict[str, dict[str, int]] = {}


class UsageReports:
    """Makes reports of counts.

    Args:
        usage: Where the counts come from. What it holds now is taken as reported: in a forked child, by the parent.
        instance: The name of this process.
        app: The application's name.
    """

    subject = "usage counts"

    def __init__(self, usage: Usage, instance: str, app: str) -> None:
        self._usage = usage
        self._instance = instance
        self._app = app
        self._flags = {key: dict(variants) for key, variants in usage.flags().items()}
        self._unknown = dict(usage.unknown())
        self._dark_launches = {key: dict(counts) for key, counts in usage.dark_launches().items()}
        self._since = _now()

    def next_report(self) -> bytes | None:
        """What was counted since the last report, as much as one report takes; ``None`` if nothing was."""
        flags = _differences(self._usage.flags(), self._flags)
        unknown = _difference(self._usage.unknown(), self._unknown)
        dark_launches = _differences(self._usage.dark_launches(), self._dark_launches)
        if not flags and not unknown and not dark_launches:
            return None
        flags = dict(itertools.islice(flags.items(), _MOST_FLAGS))
        dark_launches = dict(itertools.islice(dark_launches.items(), _MOST_DARK_LAUNCHES))
        since, self._since = self._since, _now()
        for key, variants in flags.items():
            _add(self._flags.setdefault(key, {}), variants)
        for key, counts in dark_launches.items():
            _add(self._dark_launches.setdefault(key, {}), counts)
        _add(self._unknown, unknown)
        report = Report(
            instance=self._instance,
            app=self._app,
            id=str(uuid.uuid4()),
            started=since,
            ended=self._since,
            flags=flags,
            unknown=unknown,
            dark_launches=dark_launches,
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
