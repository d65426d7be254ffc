"""``serve``: the flag server on this machine, with nothing to configure."""

import contextlib
import os
import signal
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click
import msgspec
from msgspec import Struct
from rich.markup import escape

from fader_cli import config
from fader_cli.config import Config, Profile
from fader_cli.errors import CliError
from fader_cli.server_process import (
    ENVIRONMENTS,
    default_database,
    make_folder_of,
    new_admin_token,
    new_sdk_key,
    require_server,
    start,
    stop,
    wait_until_ready,
)
from fader_cli.session import Session

_PROFILE: Final = "local"
_ENVIRONMENT: Final = "development"


class _Secrets(Struct, frozen=True):
    """What the local server accepts. Made at its first start, and kept where only this user can read it."""

    admin_token: str
    sdk_keys: dict[str, str]


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    envvar="FADER_HOST",
    help="The address to listen on.  [default: FADER_HOST, or 127.0.0.1]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=8080,
    envvar="FADER_PORT",
    help="The port to listen on.  [default: FADER_PORT, or 8080]",
)
@click.option("--db", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The database's file.")
@click.option(
    "--workers",
    type=click.IntRange(1, 128),
    help="How many processes serve: one for each core uses all of them. [default: FADER_WORKERS, or 1]",
)
def serve(host: str, port: int, db: Path | None, workers: int | None) -> int:
    """Run the flag server here, on SQLite. For production there is `fader-server`, set up by its environment."""
    require_server()
    database = (db or default_database()).absolute()
    make_folder_of(database)
    _refuse_taken_port(host, port)
    kept = _kept_secrets()
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 (only compared with)
    url = f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
    with _passing_on_signals() as children:
        process = start(
            host=host,
            port=port,
            database=database,
            admin_token=kept.admin_token,
            sdk_keys=kept.sdk_keys,
            more=_more(workers),
        )
        children.append(process)
        try:
            if wait_until_ready(process, url):
                _remember(url, kept)
                _welcome(url, kept, database)
            return process.wait()
        finally:
            stop(process)


def _more(workers: int | None) -> dict[str, str]:
    more = {} if "FADER_LOG_LEVEL" in os.environ else {"FADER_LOG_LEVEL": "warning"}
    return more if workers is None else more | {"FADER_WORKERS": str(workers)}


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CliError(
                f"cannot listen on {host}:{port}: {error.strerror}", f"choose another port: --port {port + 1}"
            ) from None


def _kept_secrets() -> _Secrets:
    path = config.config_dir() / "local-server.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Secrets)
    except FileNotFoundError:
        made = _Secrets(new_admin_token(), {name: new_sdk_key(name) for name in ENVIRONMENTS})
        config.write_private(path, msgspec.json.encode(made).decode())
        return made
    except (OSError, msgspec.DecodeError) as error:
        raise CliError(f"cannot read {path}: {error}", "remove the file, and new keys are made") from None


def _remember(url: str, kept: _Secrets) -> None:
    known = config.load()
    before = known.profiles.get(_PROFILE, Profile(url=url, token="", environment=_ENVIRONMENT))
    profile = msgspec.structs.replace(before, url=url, token=kept.admin_token)
    if known.profiles.get(_PROFILE) != profile or not known.current:
        config.save(Config(current=known.current or _PROFILE, profiles={**known.profiles, _PROFILE: profile}))


@contextlib.contextmanager
def _passing_on_signals() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Hand what ends this program on to its children, who say goodbye to their streams. They get it from here alone:
    the server takes a second Ctrl-C for impatience."""
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _welcome(url: str, kept: _Secrets, database: Path) -> None:
    out = Session().out
    out.print(f"\n[on]●[/] [key]Fader is running[/] at {url}   [quiet]Ctrl-C ends it[/]")
    out.print(f"  [quiet]flags are kept in {escape(str(database))}[/]\n", soft_wrap=True)
    out.print(f"  Your application, in another terminal [quiet](environment {_ENVIRONMENT})[/]:")
    # Never folded nor cropped, however narrow the terminal: they are to be copied.
    for name, value in (("FADER_URL", url), ("FADER_SDK_KEY", kept.sdk_keys[_ENVIRONMENT])):
        out.print(f"    export {name}={value}", soft_wrap=True)
    out.print("\n  Try:")
    commands = "fader create new-checkout\nfader on new-checkout --at 10%\nfader explain new-checkout --user ada"
    out.print(_indented(commands), soft_wrap=True)
    known = config.load()
    if known.current != _PROFILE:
        out.print(
            f"\n  [hint]The command line is signed in elsewhere: `fader profile use {_PROFILE}` brings it here.[/]"
        )
    out.print()


def _indented(lines: str) -> str:
    return textwrap.indent(lines, "    ")


COMMANDS: Final = (serve,)
