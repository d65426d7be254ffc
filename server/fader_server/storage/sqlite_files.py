"""SQLite files as a whole: copied while others use them, checked, put into place in one step.

How SQLite copies a database that is in use: https://www.sqlite.org/backup.html.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from fader_server.storage.schema_version import FIRST_TABLE, TABLE, SchemaVersion
from fader_server.storage.sqlite import BUSY_TIMEOUT_SECONDS

_COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What belongs to a database file beside it: https://www.sqlite.org/tempfiles.html."""


class FileError(ValueError):
    """A file is not what it should be, or cannot be written; the text says which, why, and how to mend it."""


def sqlite_file(database_url: str) -> Path | None:
    """The file that a URL names; ``None`` if it names no SQLite database."""
    try:
        url = make_url(database_url)
    except ArgumentError:
        return None
    return Path(url.database).absolute() if url.get_backend_name() == "sqlite" and url.database else None


def database_url_of(file: Path) -> str:
    """The URL that names a file."""
    return f"sqlite:///{file}"


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a database that must be there already.

    Raises:
        FileError: if it is not there, or is no database.
    """
    if not file.is_file():
        raise FileError(f"there is no file {file}")
    # Not read-only: for a database in WAL mode SQLite must be able to make the files beside it.
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with _faults_told(file):
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        with closing(connection):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield connection


@contextmanager
def new_file_beside(target: Path) -> Iterator[Path]:
    """An empty file that only this user can read, in the folder of another one; whatever is left of it, and beside it,
    is removed in the end.

    Raises:
        FileError: if it cannot be made.
    """
    file = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise FileError(f"cannot write to {target.parent}: {error.strerror}") from None
    try:
        yield file
    finally:
        for name in ("", *_COMPANIONS):
            file.with_name(f"{file.name}{name}").unlink(missing_ok=True)


class Patience:
    """To be told of the progress of a copy, which by itself would wait for locks for ever.

    Args:
        seconds: For how long it may get none.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since = time.monotonic()

    def __call__(self, status: int, remaining: int, total: int) -> None:
        """After each step, successful or not."""
        del remaining, total
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > self._seconds:
            raise sqlite3.OperationalError("database is locked")


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy a database as it is at one moment into a file, which is complete by itself afterwards. Nobody who uses the
    database waits for this.

    Raises:
        FileError: if the file cannot be written.
    """
    with _faults_told(target), closing(sqlite3.connect(target, isolation_level=None)) as copied:
        # All pages in one step, which is one read transaction: no writer makes it begin again.
        source.backup(copied, progress=Patience(BUSY_TIMEOUT_SECONDS))
        # Copied with everything else is the mode, which would want a second file for what is written last.
        copied.execute("PRAGMA journal_mode = DELETE")


def check(connection: sqlite3.Connection) -> SchemaVersion:
    """Make sure that a database is undamaged, and one of Fader's.

    Returns:
        The schema that it has.

    Raises:
        FileError: if it is not.
    """
    try:
        damages = [line for (line,) in connection.execute("PRAGMA integrity_check(1)") if line != "ok"]
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            damages.append("a row refers to one that is not there")
    except sqlite3.DatabaseError as error:
        raise FileError(f"it is damaged ({error})") from error
    if damages:
        raise FileError(f"it is damaged ({' '.join(damages[0].split())})")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    row = None
    if TABLE in tables:
        row = connection.execute(f"SELECT version_num, works_with FROM {TABLE}").fetchone()  # noqa: S608 (a constant)
    elif FIRST_TABLE in tables:
        row = connection.execute(f"SELECT version_num, NULL FROM {FIRST_TABLE}").fetchone()  # noqa: S608 (the same)
    if row is None or not {"environments", "changes"} <= tables:
        raise FileError("it is no database of Fader")
    return SchemaVersion(*row)


def put_into_place(file: Path, target: Path, *, replaces: bool) -> None:
    """Give a file its name, so that it is there whole or not at all, also after a power cut.

    Args:
        file: In the folder of the target.
        target: What it is to be called.
        replaces: Whether there may be one already.

    Raises:
        FileError: if there is one and must not be, or the name cannot be given.
    """
    try:
        _sync(file)
        if replaces:
            file.replace(target)
        else:
            _link(file, target)
        _sync(target.parent)
    except FileExistsError:
        raise FileError(f"{target} exists already") from None
    except OSError as error:
        raise FileError(f"cannot write {target}: {error.strerror}") from None


def _link(file: Path, target: Path) -> None:
    """Renaming would replace what somebody has made in the meantime; a link does not."""
    try:
        target.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(target) from None
        file.replace(target)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def companions(file: Path) -> list[Path]:
    """What lies beside a database file and belongs to it."""
    return [found for name in _COMPANIONS if (found := file.with_name(f"{file.name}{name}")).exists()]


def set_aside_companions(file: Path, suffix: str) -> None:
    """What lies beside a database file that is gone must not come upon another file of that name: SQLite would take it
    for the last writes to that one."""
    for companion in companions(file):
        companion.rename(companion.with_name(f"{companion.name}{suffix}"))


@contextmanager
def _faults_told(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise FileError(f"{file}: {error}") from error
