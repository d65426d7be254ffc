"""Migrations: from every schema that there was, by every way, all or nothing, one at a time; and what a server makes of
schemas that are not its own."""

import asyncio
import logging
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from fader_server.errors import Unavailable
from fader_server.storage import Store, schema_version
from fader_server.storage import migrate as migrations
from fader_server.storage.migrate import look, migrate, plan, script, steps
from fader_server.storage.schema_version import NEWEST, SchemaError, SchemaVersion
from server.storage.schemas import differences, execute, make_as_before, make_from_the_future, rows

pytestmark = pytest.mark.anyio

BEFORE = [None, "0001", "0002"]
"""Schemas from which there is a way: none at all, and those of before databases said which code works on them."""


@pytest.fixture(params=BEFORE, ids=lambda number: number or "empty")
async def earlier(request: pytest.FixtureRequest, database_url: str) -> str:
    """The address of a database with an earlier schema."""
    if request.param is not None:
        await make_as_before(database_url, request.param)
    return database_url


async def run_by_hand(database_url: str, statements: str) -> None:
    """What ``psql`` and ``sqlite3`` do with a file."""
    if database_url.startswith("sqlite:///"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        connection.executescript(statements)
        connection.close()
        return
    terminal = await asyncpg.connect(database_url)
    await terminal.execute(statements)
    await terminal.close()


def test_migrations_are_numbered_and_say_which_code_works_with_them() -> None:
    found = steps()
    assert [step.number for step in found] == [f"{number:04}" for number in range(1, len(found) + 1)]
    assert found[-1].number == NEWEST
    said = [step.works_with for step in found]
    assert said == sorted(said), "code that a step has left behind does not come back"
    assert all(step.works_with <= step.number for step in found)


async def test_every_way_leads_to_the_tables_that_queries_expect(earlier: str) -> None:
    described = await rows(earlier, "SELECT description FROM projects") if (await look(earlier)).number else [("",)]
    await migrate(earlier)
    assert await differences(earlier) == []
    assert await look(earlier) == SchemaVersion(NEWEST, steps()[-1].works_with)
    assert await rows(earlier, "SELECT description FROM projects") == described
    store = await Store.open(earlier, migrate=False)
    assert len(await store.environments()) == 3
    await store.close()


async def test_the_plan_says_what_would_be_done_and_does_nothing(earlier: str, tmp_path: Path) -> None:
    before = await look(earlier)
    planned = await plan(earlier)
    assert planned.found == before
    assert [step.number for step in planned.missing] == [
        step.number for step in steps() if step.number > (before.number or "")
    ]
    assert await look(earlier) == before
    assert before.number or not (tmp_path / "fader.db").exists()
    await migrate(earlier)
    assert (await plan(earlier)).missing == ()


async def test_the_printed_sql_does_the_same_by_hand(earlier: str) -> None:
    before = await look(earlier)
    statements = await script(earlier)
    assert await look(earlier) == before
    await run_by_hand(earlier, statements)
    assert await differences(earlier) == []
    assert await look(earlier) == SchemaVersion(NEWEST, steps()[-1].works_with)
    assert await script(earlier) == ""
    store = await Store.open(earlier)
    states = await store.environments()
    assert len({state.epoch for state in states}) == 3
    assert all(state.created_at.tzinfo is not None for state in states)
    await store.close()


async def test_the_first_version_still_finds_the_schema_that_it_knows(earlier: str) -> None:
    await migrate(earlier)
    assert await rows(earlier, f"SELECT version_num FROM {schema_version.FIRST_TABLE}") == [("0001",)]
    assert steps()[-1].works_with == "0001", "once this is no longer so, that table must name another schema"


async def test_a_step_that_fails_leaves_nothing_of_those_before_it(database_url: str) -> None:
    await make_as_before(database_url, "0001")
    # The third step runs into this, when the second has made its table.
    await execute(
        database_url,
        "DROP TABLE alembic_version",
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, more VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('0001', 'than the step knows of')",
    )
    with pytest.raises((ValueError, Unavailable)):
        await migrate(database_url)
    assert await look(database_url) == SchemaVersion("0001", None)
    with pytest.raises(Exception, match="idempotency_keys"):
        await rows(database_url, "SELECT * FROM idempotency_keys")


@pytest.mark.parametrize("works_with", [NEWEST, "0001"])
async def test_a_newer_schema_is_fine_if_it_says_so(database_url: str, works_with: str) -> None:
    await migrate(database_url)
    await make_from_the_future(database_url, "9999", works_with)
    assert (await migrate(database_url)).missing == ()
    assert await script(database_url) == ""
    store = await Store.open(database_url)
    assert len(await store.environments()) == 3
    await store.close()
    assert await look(database_url) == SchemaVersion("9999", works_with)


@pytest.mark.parametrize("works_with", ["9998", None])
async def test_a_newer_schema_is_refused_otherwise(database_url: str, works_with: str | None) -> None:
    await migrate(database_url)
    await make_from_the_future(database_url, "9999", works_with)
    for attempt in (migrate, plan, script, Store.open):
        with pytest.raises(SchemaError, match=rf"schema 9999.*made for schema {NEWEST}.*newer version of Fader"):
            await attempt(database_url)
    with pytest.raises(SchemaError):
        await Store.open(database_url, migrate=False)
    assert await look(database_url) == SchemaVersion("9999", works_with)


async def test_an_older_schema_is_refused_by_who_may_not_migrate(earlier: str, tmp_path: Path) -> None:
    before = await look(earlier)
    with pytest.raises(SchemaError, match=rf"{before.number or 'without'}.*{NEWEST}.*fader-server migrate"):
        await Store.open(earlier, migrate=False)
    assert await look(earlier) == before
    assert before.number or not (tmp_path / "fader.db").exists()


async def test_migrating_again_or_twice_at_once_changes_nothing(database_url: str) -> None:
    plans = await asyncio.gather(migrate(database_url), migrate(database_url))
    assert sorted(len(one.missing) for one in plans) == [0, len(steps())]
    store = await Store.open(database_url)
    first = await store.environments()
    await store.close()
    await migrate(database_url)
    store = await Store.open(database_url, migrate=False)
    assert await store.environments() == first
    await store.ping()
    await store.close()


async def _somebody_migrates(database_url: str) -> tuple[asyncpg.Connection, asyncpg.transaction.Transaction]:
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT pg_advisory_xact_lock($1)", migrations._LOCK)
    return connection, transaction


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_comes_second_says_so_and_waits(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    connection, transaction = await _somebody_migrates(database_url)
    migrating = asyncio.create_task(migrate(database_url))
    with caplog.at_level(logging.WARNING):
        while "another process migrates" not in caplog.text:
            assert not migrating.done()
            await asyncio.sleep(0.01)
    assert (await look(database_url)).number is None
    await transaction.commit()
    assert len((await migrating).missing) == len(steps())
    await connection.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_who_has_waited_for_too_long_gives_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "TURN_SECONDS", 1.0)
    connection, transaction = await _somebody_migrates(database_url)
    with pytest.raises(Unavailable, match="nothing was changed"):
        await migrate(database_url)
    assert (await look(database_url)).number is None
    await transaction.rollback()
    await connection.close()
