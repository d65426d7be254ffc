"""``fader-server backup``."""

from pathlib import Path

from fader_server.commands import database
from fader_server.settings import Settings
from fader_server.storage.backup import back_up


def backup(settings: Settings, file: Path, *, force: bool) -> int:
    """Copy the database, also while servers use it.

    Args:
        settings: Which database.
        file: What the backup is to be called.
        force: Replace a file of that name.
    """
    made = back_up(database.sqlite_file(settings), file.absolute(), replaces=force)
    print(f"backed up to {file}: {made.size} bytes, schema {made.version.number}, checked")
    return 0
