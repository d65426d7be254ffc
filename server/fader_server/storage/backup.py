"""A backup of a SQLite database, made while servers use it."""

from pathlib import Path

from msgspec import Struct

from fader_server.storage.schema_version import SchemaVersion
from fader_server.storage.sqlite_files import (
    FileError,
    check,
    companions,
    copy,
    new_file_beside,
    opened,
    put_into_place,
)


class Backup(Struct, frozen=True):
    """A backup that was made.

    Args:
        size: In bytes.
        version: The schema of what is in it.
    """

    size: int
    version: SchemaVersion


def back_up(database: Path, target: Path, *, replaces: bool = False) -> Backup:
    """Copy a database, as it is at one moment, into a file of its own; nobody who uses it waits for that. The file is
    there once it is complete, checked, and on the disk.

    Args:
        database: The database's file.
        target: What the backup is to be called.
        replaces: Whether there may be a file of that name.

    Raises:
        FileError: if the database is missing or damaged, or the backup cannot be written.
    """
    _refuse(database, target, replaces=replaces)
    with opened(database) as source, new_file_beside(target) as file:
        copy(source, file)
        with opened(file) as copied:
            try:
                version = check(copied)
            except FileError as error:
                raise FileError(f"{database} is not worth a backup: {error}") from error
        size = file.stat().st_size
        put_into_place(file, target, replaces=replaces)
    return Backup(size, version)


def _refuse(database: Path, target: Path, *, replaces: bool) -> None:
    if target.is_dir():
        raise FileError(f"{target} is a folder: name a file in it")
    if target.exists() and database.exists() and target.samefile(database):
        raise FileError(f"{target} is the database itself: choose another name")
    if target.exists() and not replaces:
        raise FileError(f"{target} exists already: choose another name, or replace it with --force")
    beside = companions(target)
    if beside:
        # SQLite would take it for the last writes to the backup.
        raise FileError(f"{beside[0]} belongs to another database of that name: choose another one")
