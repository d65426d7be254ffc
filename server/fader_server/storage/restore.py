"""A SQLite database brought back to a backup, also while servers use it.

All that can take time or go wrong happens to a copy. What is done to the database itself is one transaction: SQLite's
backup, in the other direction, with the write lock held from its first page to its last. In WAL mode whoever reads
meanwhile goes on seeing what was there before; whoever reads afterwards sees all that was restored.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from fader_server.storage import epochs
from fader_server.storage.migrate import migrate
from fader_server.storage.schema_version import NEWEST, SchemaError
from fader_server.storage.sqlite import BUSY_TIMEOUT_SECONDS
from fader_server.storage.sqlite_files import (
    FileError,
    Patience,
    check,
    copy,
    database_url_of,
    new_file_beside,
    opened,
    put_into_place,
    set_aside_companions,
)


class Restored(Struct, frozen=True):
    """What was done.

    Args:
        environments: How many have begun a new epoch.
        before: Where the state is kept that was replaced; ``None`` if there was none.
    """

    environments: int
    before: Path | None


def restore(database: Path, backup: Path, now: datetime | None = None) -> Restored:
    """Bring a database back to a backup, or make it from one. What was there before is kept beside it. Every
    environment begins a new epoch, so servers and SDKs follow, back to lower revisions too.

    Args:
        database: The database's file.
        backup: A file that :func:`fader_server.storage.backup.back_up` has made, or any other copy of a database.
        now: The time, for the name of what was there before.

    Raises:
        FileError: if the backup is missing, damaged, no database of Fader, or of a newer version; or if the database
            cannot be written. Nothing is changed then.
        Unavailable: the same, for reasons that may pass.
    """
    suffix = f".before-restore-{now or datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    if backup.exists() and database.exists() and backup.samefile(database):
        raise FileError(f"{backup} is the database itself")
    with new_file_beside(database) as restored:
        with opened(backup) as source:
            copy(source, restored)
        renewed = _prepare(restored, backup)
        if not database.exists():
            set_aside_companions(database, suffix)
            put_into_place(restored, database, replaces=False)
            return Restored(renewed, None)
        before = database.with_name(f"{database.name}{suffix}")
        _replace_contents(database, restored, before)
    return Restored(renewed, before)


def _prepare(restored: Path, backup: Path) -> int:
    """Make of the copy what the database is to become."""
    with opened(restored) as connection:
        try:
            version = check(connection)
        except FileError as error:
            raise FileError(f"{backup} cannot be restored: {error}") from error
    url = database_url_of(restored)
    try:
        asyncio.run(migrate(url))
    except SchemaError as error:
        raise FileError(
            f"{backup} cannot be restored: it has schema {version.number}, and this version of Fader works with "
            f"{NEWEST}; take the version that the backup was made with, or a newer one"
        ) from error
    renewed = asyncio.run(epochs.renew(url))
    with opened(restored) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return renewed


def _replace_contents(database: Path, restored: Path, before: Path) -> None:
    with new_file_beside(before) as kept, opened(restored) as source, _opened_for_replacing(database) as live:
        (page_size,) = live.execute("PRAGMA page_size").fetchone()
        if source.execute("PRAGMA page_size").fetchone() != (page_size,):
            # In WAL mode that of a database cannot change.
            source.execute(f"PRAGMA page_size = {page_size}")
            source.execute("VACUUM")
        source.backup(live, pages=1, progress=_KeepingFirst(database, kept, before))


@contextmanager
def _opened_for_replacing(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with opened(database) as live:
            # As servers have it: readers do not wait, and what was committed is on the disk.
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                live.execute(f"PRAGMA {pragma}")
            yield live
    except FileError as error:
        if getattr(error.__cause__, "sqlite_errorcode", None) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        mend = "stop the servers, move the file and what lies beside it out of the way, and restore again"
        raise FileError(f"{error}; {mend}") from error


class _KeepingFirst(Patience):
    """After the first page the write lock is held: what can be read now is all that anybody will ever have written
    before."""

    def __init__(self, database: Path, kept: Path, before: Path) -> None:
        super().__init__(BUSY_TIMEOUT_SECONDS)
        self._places = database, kept, before
        self._has_kept = False

    def __call__(self, status: int, remaining: int, total: int) -> None:
        super().__call__(status, remaining, total)
        if status == sqlite3.SQLITE_OK and not self._has_kept:
            database, kept, before = self._places
            with opened(database) as unchanged:
                copy(unchanged, kept)
            put_into_place(kept, before, replaces=False)
            self._has_kept = True
