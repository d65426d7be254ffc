"""SQLite files with all tables, copied from one that was migrated: sooner done than to migrate each."""

import asyncio
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path


def make_database(file: Path) -> None:
    """Make what migrating from nothing would, with epochs of its own."""
    file.write_bytes(_migrated())
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("UPDATE environments SET epoch = lower(hex(randomblob(8)))")


@cache
def _migrated() -> bytes:
    # Only now: programs that start no server need not load any of one.
    from fader_server.storage.migrate import migrate

    # Whether or not this thread has an event loop already.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        file = Path(folder) / "fader.db"
        thread.submit(asyncio.run, migrate(f"sqlite:///{file}")).result()
        return file.read_bytes()
