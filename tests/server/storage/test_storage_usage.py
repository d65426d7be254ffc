"""Counts of evaluations: added up by the hour, each report once, nothing that does not exist."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fader_server.storage import Store, flags, usage
from fader_server.storage.records import DarkLaunch, Definition, Usage, UsageReport

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def _report(
    number: str, counts: dict[str, dict[str, int]], ended: datetime = NOW, environment: str = "production"
) -> UsageReport:
    return UsageReport(
        id=number, project="default", environment=environment, ended=ended, flags=counts, unknown={"a": 5, "x": 1}
    )


async def _counted(store: Store, hours: int = 24, environments: tuple[str, ...] = ()) -> list[Usage]:
    async with store.read() as connection:
        return await usage.of_flag(
            connection, "default", "a", environments=environments, since=NOW - timedelta(hours=hours)
        )


@pytest.fixture
async def counting(store: Store) -> Store:
    async with store.write() as connection:
        await flags.insert(connection, Definition(project="default", key="a", created_at=NOW, updated_at=NOW))
    return store


async def test_reports_add_up(counting: Store) -> None:
    reports = [
        _report("1", {"a": {"on": 3, "off": 1}, "nowhere": {"on": 9}}),
        _report("2", {"a": {"on": 4}}, NOW - timedelta(minutes=5)),
        _report("3", {"a": {"on": 1}}, NOW - timedelta(hours=2)),
        _report("4", {"a": {"on": 2}}, environment="staging"),
    ]
    assert await counting.record_usage(reports, NOW) == 4
    assert await counting.record_usage([_report("5", {"a": {"on": 10}})], NOW) == 1
    assert await _counted(counting) == [
        Usage(environment="production", variant="off", count=1, last_at=NOW),
        Usage(environment="production", variant="on", count=18, last_at=NOW),
        Usage(environment="staging", variant="on", count=2, last_at=NOW),
    ]
    assert [one.count for one in await _counted(counting, hours=1, environments=("production",))] == [1, 17]


async def test_a_report_counts_once(counting: Store) -> None:
    report = _report("1", {"a": {"on": 3}})
    assert await counting.record_usage([report, report], NOW) == 1
    assert await counting.record_usage([report], NOW + timedelta(minutes=1)) == 0
    assert [one.count for one in await _counted(counting)] == [3]
    # The same id of another environment's SDK is another report.
    assert await counting.record_usage([_report("1", {"a": {"on": 1}}, environment="staging")], NOW) == 1


async def test_a_clock_that_is_wrong_does_little_harm(counting: Store) -> None:
    ages = [timedelta(days=-400), timedelta(days=400)]
    await counting.record_usage(
        [_report(str(number), {"a": {"on": 1}}, NOW - age) for number, age in enumerate(ages)], NOW
    )
    [counted] = await _counted(counting, hours=48)
    assert (counted.count, counted.last_at) == (2, NOW)
    async with counting.read() as connection:
        assert await usage.last_evaluated(connection, "default", "a") == NOW
        assert await usage.last_evaluated(connection, "default", "nowhere") is None


async def test_many_flags_in_one_report(counting: Store) -> None:
    counts = {f"flag-{number}": {"on": 1} for number in range(2_500)} | {"a": {"on": 1}}
    assert await counting.record_usage([_report("1", counts)], NOW) == 1
    assert [one.count for one in await _counted(counting)] == [1]


async def test_what_is_old_is_forgotten(counting: Store) -> None:
    report = _report("1", {"a": {"on": 1}})
    await counting.record_usage([report], NOW)
    await counting.prune(NOW + usage.REPORTS_REMEMBERED - timedelta(seconds=1))
    assert await counting.record_usage([report], NOW) == 0
    await counting.prune(NOW + usage.COUNTS_KEPT - timedelta(hours=2))
    assert [one.count for one in await _counted(counting)] == [1]
    await counting.prune(NOW + usage.COUNTS_KEPT + timedelta(hours=2))
    assert await _counted(counting) == []
    assert await counting.record_usage([report], NOW) == 1


async def test_dark_launches_add_up_beside_evaluations_and_are_none(counting: Store) -> None:
    def report(number: str, environment: str = "production", **counts: int) -> UsageReport:
        return replace(
            _report(number, {}, environment=environment), unknown={}, dark_launches={"a": counts, "x": counts}
        )

    reports = [
        report("1", compared=10, mismatched=2, control_us=50, candidate_us=25),
        report("2", compared=5, candidate_raised=1, of_a_newer_sdk=7),
        report("3", "staging", dropped=4),
    ]
    assert await counting.record_usage([*reports, reports[0]], NOW) == 3
    async with counting.read() as connection:
        since = NOW - timedelta(hours=24)
        found = await usage.dark_launches(connection, "default", "a", environments=(), since=since)
        of_staging = await usage.dark_launches(connection, "default", "a", environments=("staging",), since=since)
        assert await usage.last_evaluated(connection, "default", "a") is None
    production = DarkLaunch(
        environment="production", compared=15, mismatched=2, candidate_raised=1, control_us=50, candidate_us=25
    )
    assert found == [production, *of_staging]
    assert production.both_ended_alike == 14
    assert of_staging == [DarkLaunch(environment="staging", dropped=4)]
    assert await _counted(counting) == []
