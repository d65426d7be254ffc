"""The command line, run as a shell would run it: in this process, or as a program of its own."""

import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

import pytest

from fader_cli.program import main
from processes import PATIENCE


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        assert self.code != 0, self
        return json.loads(self.err)["error"]


def program(*arguments: str, stdin: str | None = None, **environment: str) -> Done:
    """Run a command as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "fader_cli", *arguments],
        env={**os.environ, **environment},
        input="" if stdin is None else stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Cli:
    """Runs commands with the settings in the variables of the environment, as a shell would."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        """Run a command in this process."""
        self._capsys.readouterr()
        code = main(list(arguments))
        return Done(code, *self._capsys.readouterr())

    def ok(self, *arguments: str) -> str:
        """The same, and it must succeed; what it writes, with what it notes."""
        done = self(*arguments)
        assert done.code == 0, done
        return done.out + done.err

    def json(self, *arguments: str) -> Any:
        """The same, as a document."""
        return self(*arguments, "--json").json

    def program(self, *arguments: str, stdin: str | None = None, **environment: str) -> Done:
        """Run a command as a process of its own."""
        return program(*arguments, stdin=stdin, **environment)

    def python(self, program: str) -> Done:
        """Run a few lines of Python as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """The same, without waiting for its end."""
        return subprocess.Popen(
            [sys.executable, "-m", "fader_cli", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
