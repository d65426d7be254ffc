"""``fader-server restore``."""

from pathlib import Path

from fader_server.commands import database
from fader_server.settings import Settings
from fader_server.storage import restore as restoring


def restore(settings: Settings, file: Path) -> int:
    """Bring the database back to a backup, also while servers use it.

    Args:
        settings: Which database.
        file: The backup.
    """
    done = restoring.restore(database.sqlite_file(settings), file.absolute())
    print(f"restored from {file}: {done.environments} environments have begun a new epoch, and SDKs follow")
    if done.before is not None:
        print(f"what was there before is kept in {done.before}")
    return 0
