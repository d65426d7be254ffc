"""Reports of usage: what is counted is sent once, whatever happens on the way."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fader.config import Timing
from fader.counters import UsageCounters
from fader.handing_in import HandingIn
from fader.status import Journal
from fader.transport import Answer
from fader.usage import UsageReports


class Server:
    """Takes reports, or not; counts as the real one does: a repeated id is ignored."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.retry_after: str | None = None
        self.reports: list[dict[str, Any]] = []

    def __call__(self, payload: bytes, within: float) -> Answer:
        assert within > 0
        self.reports.append(json.loads(payload))
        answer = self.answers.pop(0) if self.answers else 202
        if isinstance(answer, Exception):
            raise answer
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return Answer(answer, headers, b"")

    def counted(self) -> Counter[tuple[str, str]]:
        distinct = {report["id"]: report for report in self.reports}
        total: Counter[tuple[str, str]] = Counter()
        for report in distinct.values():
            for key, variants in report["flags"].items():
                total.update({(key, variant): count for variant, count in variants.items()})
        return total


@pytest.fixture
def counters() -> UsageCounters:
    return UsageCounters()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def report(counters: UsageCounters, server: Server) -> Callable[[], None]:
    """A reporter that reports when it is called."""
    return starting_now(counters, server)


def starting_now(counters: UsageCounters, server: Server) -> Callable[[], None]:
    reports = UsageReports(counters, "web-1:42:abc", "shop")
    reporter = HandingIn(reports, 60.0, Timing(), server, Journal("the server"))
    return lambda: reporter.finish(5.0)


def test_a_report_is_what_was_counted_since_the_last(
    counters: UsageCounters, server: Server, report: Callable[[], None]
) -> None:
    counters.of("new-checkout", "on")[0] += 3
    counters.of("new-checkout", "off")[0] += 2
    counters.of_unknown("typo")[0] += 1
    report()
    counters.of("new-checkout", "on")[0] += 4
    report()
    first, second = server.reports
    assert (first["flags"], first["unknown"]) == ({"new-checkout": {"on": 3, "off": 2}}, {"typo": 1})
    assert (second["flags"], second["unknown"]) == ({"new-checkout": {"on": 4}}, {})
    assert (first["instance"], first["app"]) == ("web-1:42:abc", "shop")
    assert first["id"] != second["id"]
    assert first["started"] <= first["ended"] == second["started"] <= second["ended"]


def test_nothing_is_sent_where_nothing_was_counted(
    counters: UsageCounters, server: Server, report: Callable[[], None]
) -> None:
    report()
    counters.of("new-checkout", "on")
    report()
    assert server.reports == []


@pytest.mark.parametrize("failure", [OSError("reset"), TimeoutError("late"), 500, 503, 429, 401, 403, 404])
def test_a_report_that_may_not_have_arrived_is_sent_again_as_it_was(
    counters: UsageCounters, server: Server, report: Callable[[], None], failure: int | Exception
) -> None:
    server.answers = [failure]
    counters.of("new-checkout", "on")[0] += 3
    report()
    counters.of("new-checkout", "on")[0] += 4
    report()
    lost, repeated, following = server.reports
    assert repeated == lost
    assert following["flags"] == {"new-checkout": {"on": 4}}
    assert server.counted() == {("new-checkout", "on"): 7}


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_report_that_the_server_will_never_take_does_not_block_the_next(
    counters: UsageCounters, server: Server, report: Callable[[], None], status: int
) -> None:
    server.answers = [status]
    counters.of("new-checkout", "on")[0] += 3
    report()
    counters.of("new-checkout", "on")[0] += 4
    report()
    assert server.reports[-1]["flags"] == {"new-checkout": {"on": 4}}


def test_a_long_outage_costs_no_counts_and_no_memory(
    counters: UsageCounters, server: Server, report: Callable[[], None]
) -> None:
    server.answers = [OSError("away")] * 100
    for _ in range(100):
        counters.of("new-checkout", "on")[0] += 10
        report()
    report()
    assert len({attempt["id"] for attempt in server.reports[:100]}) == 1
    assert server.counted() == {("new-checkout", "on"): 1000}


def test_many_flags_go_in_several_reports(counters: UsageCounters, server: Server, report: Callable[[], None]) -> None:
    for number in range(5_000):
        counters.of(f"flag-{number}", "on")[0] += 1
    report()
    assert len(server.reports) == 3
    assert sum(server.counted().values()) == 5_000


def test_what_a_parent_process_has_counted_is_not_reported_by_its_child(
    counters: UsageCounters, server: Server
) -> None:
    counters.of("new-checkout", "on")[0] += 100
    report_of_child = starting_now(counters, server)
    counters.of("new-checkout", "on")[0] += 1
    report_of_child()
    assert server.counted() == {("new-checkout", "on"): 1}


def test_reports_come_at_intervals_and_wait_when_they_are_asked_to(counters: UsageCounters, server: Server) -> None:
    reports = UsageReports(counters, "web-1", "shop")
    reporter = HandingIn(reports, 60.0, Timing(), server, Journal("the server"))
    now = time.monotonic()
    counters.of("new-checkout", "on")[0] += 1
    assert 53 < reporter.run_if_due(now) <= 66
    assert server.reports == []
    assert reporter.run_if_due(now + 67) == pytest.approx(60, abs=7)
    assert len(server.reports) == 1
    server.answers, server.retry_after = [503], "300"
    counters.of("new-checkout", "on")[0] += 1
    assert reporter.run_if_due(time.monotonic() + 134) > 160
