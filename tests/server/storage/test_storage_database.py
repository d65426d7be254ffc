"""The database itself: durability, faults."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from fader_server.errors import Unavailable
from fader_server.storage import Store, schema
from fader_server.storage.engine import create_engine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nonsense", "not an address"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("mysql://root:hunter2@db/fader", "SQLite"),
        ("postgresql://root:hunter2@db:port/fader", "port"),
    ],
)
def test_an_address_that_is_of_no_use_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        create_engine(url)
    assert "hunter2" not in str(refused.value)


async def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await Store.open(f"sqlite:///{tmp_path}/no/such/folder/fader.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be told from an empty one" * 100)
    with pytest.raises(ValueError, match="file is not a database"):
        await Store.open(f"sqlite:///{tmp_path}/text.db")


async def test_sqlite_is_told_to_survive_a_power_cut(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/fader.db")
    async with store.read() as connection:
        answers = [
            (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    await store.close()
    assert answers == ["wal", 2, 1, 10_000]


async def test_sqlite_waits_for_a_writer_in_another_process(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/fader.db")
    other = sqlite3.connect(tmp_path / "fader.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def write() -> None:
        async with store.write() as connection:
            await connection.execute(schema.projects.update().values(description="mine"))

    writing = asyncio.create_task(write())
    # It has come to where it waits once nobody else gets the store's own turn any more.
    while not store._turn.locked():  # noqa: ASYNC110 - a lock has no event for it
        await asyncio.sleep(0)
    assert not writing.done()
    other.execute("COMMIT")
    await writing
    assert other.execute("SELECT description FROM projects").fetchone() == ("mine",)
    other.close()
    await store.close()


async def test_a_write_transaction_takes_the_lock_before_it_reads(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/fader.db")
    other = sqlite3.connect(tmp_path / "fader.db", timeout=0, isolation_level=None)
    async with store.write() as connection:
        await connection.execute(sa.select(schema.projects))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    async with store.read() as connection:
        await connection.execute(sa.select(schema.projects))
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
    await store.close()


async def test_a_cancelled_write_is_undone_and_blocks_nobody(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/fader.db")
    inside = asyncio.Event()

    async def never_ends() -> None:
        async with store.write() as connection:
            await connection.execute(schema.projects.update().values(description="half"))
            inside.set()
            await asyncio.Event().wait()

    writing = asyncio.create_task(never_ends())
    await inside.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    async with asyncio.timeout(5), store.write() as connection:
        found = (await connection.execute(sa.select(schema.projects.c.description))).scalars().all()
    assert found == [""]
    await store.close()
