"""The program ``fader-server``: ``serve`` and ``migrate``. Everything else it is told by the environment."""

import asyncio
import sys
from typing import Final

from fader_server import __version__
from fader_server.errors import FaderError
from fader_server.logs import set_up_logs
from fader_server.settings import SettingsError, read_settings

USAGE: Final = """\
usage: fader-server serve      serve flags
       fader-server migrate    bring the database up to date, and end
       fader-server --version

Settings are read from the environment: FADER_HOST, FADER_PORT, DATABASE_URL and others (docs/reference/settings.md).
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 if all went well, 2 if it was called or set up wrongly.
    """
    given = sys.argv[1:] if arguments is None else arguments
    match given:
        case ["--version"]:
            print(__version__)
            return 0
        case ["serve" | "migrate" as command]:
            return _run(command)
        case ["--help" | "-h"]:
            print(USAGE, end="")
            return 0
        case _:
            print(USAGE, end="", file=sys.stderr)
            return 2


def _run(command: str) -> int:
    from fader_server.serving import serve  # a wrong call is answered without waiting for all of the server
    from fader_server.storage.migrate import migrate

    try:
        settings = read_settings()
        set_up_logs(settings)
        if command == "serve":
            serve(settings)
        else:
            asyncio.run(migrate(settings.database_url))
    except SettingsError as error:
        for problem in error.problems:
            print(f"fader-server: {problem}", file=sys.stderr)
        return 2
    except (ValueError, FaderError) as error:
        print(f"fader-server: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
