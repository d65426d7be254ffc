"""A flag server as a child of this process. It is a program of its own: nothing of it is imported here."""

import importlib.util
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import platformdirs
import urllib3

from fader_cli.errors import CliError, usage_error
from fader_cli.exits import ExitCode

ENVIRONMENTS: Final = ("development", "staging", "production")
"""Those that a new database has."""

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0


def new_admin_token() -> str:
    """A token that the server will be told to accept."""
    return f"fader_{secrets.token_urlsafe(32)}"


def new_sdk_key(environment: str) -> str:
    """The same for an SDK key."""
    return f"default:{environment}.{secrets.token_hex(24)}"


def require_server() -> None:
    """Make sure that the server is installed.

    Raises:
        CliError: naming the command that installs it.
    """
    if importlib.util.find_spec("fader_server") is None or importlib.util.find_spec("litestar") is None:
        raise CliError("the server is not installed", "pip install 'fader[server]'")


def default_database() -> Path:
    """The file that ``serve`` keeps its flags in, unless told otherwise."""
    return Path(platformdirs.user_data_dir("fader")) / "fader.db"


def make_folder_of(database: Path) -> None:
    """See to it that a database can be made.

    Raises:
        CliError: if it cannot.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise usage_error(
            f"cannot make {database.parent}: {error.strerror}", "choose another place with --db"
        ) from None


def run(database: Path, *arguments: str) -> str:
    """Run one of the server's own commands on a database, to its end.

    Args:
        database: The SQLite file.
        arguments: The command, and its arguments.

    Returns:
        What it says.

    Raises:
        CliError: saying what it says, if it fails.
    """
    require_server()
    done = subprocess.run(  # noqa: S603 (a program of ours, and no shell)
        [sys.executable, "-m", "fader_server", *arguments],
        env=_without_settings(os.environ) | {"DATABASE_URL": f"sqlite:///{database}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CliError(done.stderr.strip().removeprefix("fader-server: ") or f"it ended with {done.returncode}")
    return done.stdout


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The server refuses to begin with settings that make no sense, and these commands have use for none of them."""
    return {name: value for name, value in environment.items() if not name.startswith("FADER_")}


def start(
    *,
    host: str,
    port: int,
    database: Path,
    admin_token: str,
    sdk_keys: Mapping[str, str],
    output: IO[bytes] | None = None,
    more: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start the server.

    Args:
        host: The address to listen on.
        port: The port.
        database: The SQLite file.
        admin_token: Accepted as an admin's.
        sdk_keys: Accepted too, by environment.
        output: Where its log goes; here unless said otherwise.
        more: Further settings.
    """
    environment = dict(os.environ)
    environment |= {
        "FADER_HOST": host,
        "FADER_PORT": str(port),
        "DATABASE_URL": f"sqlite:///{database}",
        "FADER_INITIAL_ADMIN_TOKEN": admin_token,
        "FADER_INITIAL_SDK_KEYS": ",".join(sdk_keys.values()),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fader_server", "serve"],
        env=environment | dict(more or {}),
        stdout=output,
        stderr=output,
        # A group of its own: what Ctrl-C means for it is decided by whoever has started it.
        process_group=0,
    )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server, if it has not ended yet: in order, and if that takes too long, at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    """Wait until a server answers; false if it ends before.

    Raises:
        CliError: if it does neither in time.
    """
    pool = urllib3.PoolManager(retries=False, timeout=1.0)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        try:
            if pool.request("GET", f"{url}/health/ready").status == 200:
                # Something else may have the port: then ours ends in a moment, with a word about it.
                return process.poll() is None
        except (urllib3.exceptions.HTTPError, OSError):
            pass
        time.sleep(0.05)
    raise CliError("the server does not come up", "its log above may say why", ExitCode.UNREACHABLE)
