"""Which database a command is about; and what goes wrong with it, told by the name of the setting that leads to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fader_server.errors import FaderError
from fader_server.settings import Settings, SettingsError
from fader_server.storage import sqlite_files
from fader_server.storage.faults import described


@contextmanager
def named_in_errors() -> Iterator[None]:
    """Around what a command does with the database.

    Raises:
        SettingsError: instead of what the storage raises.
    """
    try:
        yield
    except ValueError as error:
        raise SettingsError((f"DATABASE_URL {error}",)) from error
    except FaderError as error:
        raise SettingsError((f"DATABASE_URL: {described(error)}",)) from error


def sqlite_file(settings: Settings) -> Path:
    """The file of a SQLite database.

    Raises:
        SettingsError: if it is none: naming what to use instead.
    """
    file = sqlite_files.sqlite_file(settings.database_url)
    if file is None:
        raise SettingsError(
            (
                "DATABASE_URL names no SQLite file: back PostgreSQL up with pg_dump; restore it with pg_restore, and "
                "then run `fader-server renew-epochs`",
            )
        )
    return file
