"""The commands of ``fader-server`` that come to an end: run in this process, or as a program of its own."""

import logging
import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from command_line import Done
from fader_server.__main__ import main
from processes import PATIENCE


def program(*arguments: str, **environment: str) -> Done:
    """Run a command as a process of its own, with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FADER_")}
    done = subprocess.run(
        [sys.executable, "-m", "fader_server", *arguments],
        env=kept | {"FADER_LOG_FORMAT": "json"} | environment,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return _checked(Done(done.returncode, done.stdout, done.stderr), environment)


class ServerCommand:
    """Runs commands in this process, which is sooner done; not those that set up a log."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, database_url: str, *arguments: str) -> Done:
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setenv("DATABASE_URL", database_url)
            patch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
            code = main(list(arguments))
        return _checked(Done(code, *self._capsys.readouterr()), {"DATABASE_URL": database_url})


def refusal(done: Done) -> str:
    """The one line with which a command that was refused has ended."""
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done
    return done.err


def _checked(done: Done, environment: dict[str, str]) -> Done:
    """Whatever it says, it never shows a traceback, or a password."""
    password = urlsplit(environment["DATABASE_URL"]).password
    assert "Traceback" not in done.out + done.err, done
    assert password is None or password not in done.out + done.err
    return done
