"""How often this server has evaluated which flag to what, as reports like those of SDKs.

Counters only ever grow; a report is the difference to the one before. One that may or may not have been written down is
sent again as it is, and the database knows it by its id, so nothing is counted twice and nothing is lost while the
database is away.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

from fader.counters import UsageCounters
from fader_server.errors import FaderError
from fader_server.logs import logger
from fader_server.storage import Store
from fader_server.storage.records import UsageReport
from fader_server.telemetry import Metrics

_log = logger(__name__)


class UsageCounts:
    """The counts of all environments.

    Args:
        store: Where reports go.
        clock: The time, aware.
        metrics: Whom to tell of reports.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime], metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._counted: dict[tuple[str, str], _Counted] = {}

    def follow(self, project: str, environment: str, counters: UsageCounters) -> None:
        """Report what is counted here from now on, instead of what was followed under that name before."""
        self._counted[project, environment] = _Counted(project, environment, counters)

    def forget(self, project: str, environment: str) -> None:
        """The environment is gone, and its counts with it."""
        self._counted.pop((project, environment), None)

    async def report(self) -> None:
        """Write down what was counted since the last time. While the database is away, it waits."""
        now = self._clock()
        reporting = [(one, report) for one in self._counted.values() if (report := one.report(now)) is not None]
        if not reporting:
            return
        try:
            counted = await self._store.record_usage([report for _, report in reporting], now)
        except FaderError:
            _log.debug("what was evaluated here cannot be written down now")
            return
        for one, _ in reporting:
            one.settle()
        self._metrics.usage_reported(counted=counted, repeated=len(reporting) - counted)


class _Counted:
    """What one environment's counters have been reported of."""

    def __init__(self, project: str, environment: str, counters: UsageCounters) -> None:
        self._place = project, environment
        self._counters = counters
        self._flags: Mapping[str, Mapping[str, int]] = {}
        self._unknown: Mapping[str, int] = {}
        self._unsettled: UsageReport | None = None

    def report(self, now: datetime) -> UsageReport | None:
        """The report that is due, if there is anything in it."""
        if self._unsettled is None:
            flags, unknown = self._counters.flags(), self._counters.unknown()
            news = {flag: _more(variants, self._flags.get(flag, {})) for flag, variants in flags.items()}
            news = {flag: variants for flag, variants in news.items() if variants}
            unknown_news = _more(unknown, self._unknown)
            if not news and not unknown_news:
                return None
            self._flags, self._unknown = flags, unknown
            project, environment = self._place
            self._unsettled = UsageReport(
                id=uuid.uuid4().hex,
                project=project,
                environment=environment,
                ended=now,
                flags=news,
                unknown=unknown_news,
            )
        return self._unsettled

    def settle(self) -> None:
        """It has been written down."""
        self._unsettled = None


def _more(counts: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in counts.items() if count > before.get(name, 0)}
