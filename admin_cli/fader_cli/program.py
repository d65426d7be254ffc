"""The program: all commands, and the one place where errors become words and exit codes."""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
import msgspec

from fader._version import __version__
from fader_cli.commands import (
    backups,
    clients,
    credentials,
    demo,
    environments,
    explaining,
    flags,
    history,
    hooks,
    moving,
    profiles,
    ramps,
    reading,
    rules,
    segments,
    serving,
    shells,
    switching,
    variants,
    waiting,
    watching,
)
from fader_cli.errors import CliError
from fader_cli.exits import MEANINGS, ExitCode
from fader_cli.groups import Commands

_CODES = "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"\b\nExit codes:\n{_CODES}",
)
@click.version_option(__version__, "--version", message="fader %(version)s")
def program() -> None:
    """Feature flags: bring code up slowly, and down at once."""


for _heading, _groups in (
    ("Switch flags", (switching, ramps, waiting)),
    ("See what is, and why", (reading, explaining, history, watching, clients)),
    ("Flags, and whom they let in", (flags, rules, variants, segments, moving)),
    ("Server and access", (serving, backups, demo, profiles, environments, credentials, hooks, shells)),
):
    program.add_section(_heading, [_command for _group in _groups for _command in _group.COMMANDS])


def main(arguments: list[str] | None = None) -> int:
    """Run a command line.

    Returns:
        Its exit code, one of ``ExitCode`` (or that of the server that ``serve`` has run).
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        result: Any = program.main(given, prog_name="fader", standalone_mode=False)
    except CliError as error:
        return _complain(error, given)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.UsageError as error:
        where = f"see `{error.ctx.command_path} --help`" if error.ctx is not None else None
        return _complain(CliError(error.format_message().rstrip("."), where, ExitCode.USAGE), given)
    except click.ClickException as error:
        return _complain(CliError(error.format_message()), given)
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, which is fine (`fader list | head`); nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001 (the last net: nobody is shown a traceback)
        return _complain(_unforeseen(error), given)
    return result if isinstance(result, int) else ExitCode.OK


def _complain(error: CliError, given: list[str]) -> int:
    if "--json" in given:
        click.echo(msgspec.json.encode(error.document()).decode(), err=True)
    else:
        # Below its first line a message may draw where something is wrong.
        first, *drawing = error.message.split("\n")
        hint = f" ({error.hint.rstrip('.')})" if error.hint else ""
        click.echo("\n".join([f"fader: {first}{hint}", *drawing]), err=True)
    return int(error.code)


def _unforeseen(error: Exception) -> CliError:
    if isinstance(error, OSError) and error.strerror:
        about = f"{error.filename}: " if error.filename else ""
        return CliError(f"{about}{error.strerror}")
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    return CliError(
        f"something went wrong that nobody foresaw: {what} ({Path(place.filename).name}:{place.lineno})",
        "please report it, with the command",
    )
