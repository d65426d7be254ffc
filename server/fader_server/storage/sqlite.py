"""SQLite: what each connection and each transaction must be told first."""

import asyncio
from typing import Any, Final

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_TIMEOUT_SECONDS: Final = 10
"""How long a transaction waits for a writer in another process, such as a migration, before it fails."""

_CONNECTIONS: Final = 6
"""Each is a thread that answers reads; more would not help a database on one disk."""

_WRITES: Final = "fader_writes"


def create_engine(url: URL) -> AsyncEngine:
    """An engine whose connections survive a power cut with every acknowledged commit, and never read half a
    write.

    Raises:
        ValueError: if the URL names no file.
    """
    if url.database in (None, "", ":memory:"):
        # Readers and the writer have a connection each, and in memory each connection would see its own
        # database.
        raise ValueError("must name a file, such as sqlite:///fader.db")
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "async_creator_fn": _connect},
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare)
    sa.event.listen(engine.sync_engine, "begin", _begin)
    return engine


async def _connect(*place: Any, **options: Any) -> aiosqlite.Connection:
    connection = aiosqlite.connect(*place, **options)
    thread = connection._thread  # noqa: SLF001 (as the library that calls this does by itself)
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        # The thread tells the event loop of its end, and prints a traceback if that is closed by then.
        await asyncio.to_thread(thread.join)
        raise


def for_writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, whose transactions take the write lock at once.

    A transaction that begins by reading and takes the lock later may find that another one has written in
    between, and SQLite then fails it without waiting.
    """
    return engine.execution_options(**{_WRITES: True})


def _prepare(connection: Any, _record: Any) -> None:
    # Python's driver must not begin transactions by itself: it does so late, and never before reading.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        # In WAL mode readers and the writer do not wait for each other. FULL: the log is on the disk before a
        # commit returns, so a toggle that was acknowledged is still there after a power cut.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
