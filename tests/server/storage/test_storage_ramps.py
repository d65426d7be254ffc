"""Ramps, what was recorded for them, and looks, as the database keeps them."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from fader_server.ramps.plan import GuardPlan, Plan, Step
from fader_server.ramps.progress import GuardProgress, Progress
from fader_server.storage import Store, ramps
from fader_server.storage.records import Ramp, RampLook, RampOutcomes

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
PLAN = Plan(
    steps=(Step(percentage=1.0), Step(percentage=100.0, needs_approval=True)),
    guards=(GuardPlan(id="checkout", metric="checkout", margin=0.1),),
    deadline=NOW + timedelta(days=1),
)
RAMP = Ramp(
    id="r1",
    project="default",
    environment="production",
    epoch="e",
    flag="new-checkout",
    plan=PLAN,
    progress=Progress(began=NOW, looked=NOW, guards={"checkout": GuardProgress(verdict="ok")}),
    is_over=False,
    hash_key="00" * 16,
    version=1,
    created_at=NOW,
    created_by="sam",
    reason="it is time",
    updated_at=NOW,
)


async def kept(store: Store, ramp_id: str = "r1") -> Ramp | None:
    async with store.read() as connection:
        return await ramps.ramp(connection, ramp_id)


@pytest.fixture
async def with_ramp(store: Store) -> Store:
    async with store.write() as connection:
        await ramps.insert(connection, RAMP)
    return store


async def test_a_ramp_reads_back_as_it_was_written(with_ramp: Store) -> None:
    assert await kept(with_ramp) == RAMP
    assert await kept(with_ramp, "r2") is None


async def test_only_who_knows_the_last_version_writes_the_next(with_ramp: Store) -> None:
    moved = replace(RAMP, version=2, progress=replace(RAMP.progress, step=1), hash_key="11" * 16)
    async with with_ramp.write() as connection:
        assert await ramps.update(connection, moved)
        assert not await ramps.update(connection, replace(moved, hash_key="22" * 16))
    assert await kept(with_ramp) == moved


async def test_those_under_way_are_found(with_ramp: Store) -> None:
    later = replace(RAMP, id="r0", environment="staging", created_at=NOW + timedelta(minutes=1))
    over = replace(RAMP, id="r2", is_over=True, created_at=NOW - timedelta(days=1))
    async with with_ramp.write() as connection:
        await ramps.insert(connection, later)
        await ramps.insert(connection, over)
    async with with_ramp.read() as connection:
        assert await ramps.under_way(connection) == [RAMP, later]
        assert await ramps.under_way(connection, "default", "staging") == [later]
        assert await ramps.of_flag(connection, "default", "production", "new-checkout", "e", limit=10) == [RAMP, over]
        assert await ramps.of_flag(connection, "default", "production", "new-checkout", "f", limit=10) == []
        assert await ramps.page(connection, "default", limit=2) == [later, RAMP]
        assert await ramps.page(connection, "default", ("staging",), after="r", limit=2) == [later]


async def test_what_was_recorded_is_kept_by_step_and_guard(with_ramp: Store) -> None:
    async with with_ramp.write() as connection:
        assert await ramps.locked_outcomes(connection, "r1", 0, "checkout", NOW) is None
        await ramps.put_outcomes(connection, RampOutcomes(ramp="r1", step=0, guard="checkout", outcomes=b"one"), NOW)
    async with with_ramp.write() as connection:
        found = await ramps.locked_outcomes(connection, "r1", 0, "checkout", NOW)
        assert found == RampOutcomes(ramp="r1", step=0, guard="checkout", outcomes=b"one")
        await ramps.put_outcomes(connection, replace(found, outcomes=b"two"), NOW)
    async with with_ramp.read() as connection:
        assert [one.outcomes for one in await ramps.outcomes(connection, "r1", 0)] == [b"two"]
        assert await ramps.outcomes(connection, "r1", 1) == []


async def test_a_report_is_fresh_once(with_ramp: Store) -> None:
    async with with_ramp.write() as connection:
        assert await ramps.fresh_reports(connection, "r1", ["a", "b", "a"], NOW) == {"a", "b"}
    async with with_ramp.write() as connection:
        assert await ramps.fresh_reports(connection, "r1", ["b", "c"], NOW) == {"c"}
        await ramps.prune(connection, NOW + timedelta(hours=2))
        assert await ramps.fresh_reports(connection, "r1", ["b"], NOW) == {"b"}


async def test_looks_are_kept_in_order(with_ramp: Store) -> None:
    one = RampLook(
        ramp="r1", guard="checkout", number=1, step=0, at=NOW, exposed=100, failed=2, others=9_900, others_failed=40,
        log_e=-0.25,
    )  # fmt: skip
    another = replace(one, number=2, at=NOW + timedelta(seconds=5), exposed=150)
    async with with_ramp.write() as connection:
        await ramps.add_looks(connection, [another, one])
        await ramps.add_looks(connection, [replace(one, exposed=7)])
        await ramps.add_looks(connection, [])
    async with with_ramp.read() as connection:
        assert await ramps.looks(connection, "r1") == [one, another]
