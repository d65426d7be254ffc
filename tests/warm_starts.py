"""Servers that start from a process in which all that they need is loaded already: loading is most of a start.
Each is a process of its own all the same, with an environment, a folder and a log of its own."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# In this order: the first one sees to it that the rest is as small as in the program.
_LOADED: Final = ["fader_server.commands.serve", "fader_server.serving", "fader_server.__main__", "uvloop", "asyncpg"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_LOADED)


class WarmProcess:
    """``fader-server serve``, with as much of ``subprocess.Popen`` as tests use.

    Args:
        environment: All of its variables.
        folder: Where it runs.
        log: What it writes is added here.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        log.touch()
        # As a daemon, it ends with the tests if they forget it.
        self._process = _context.Process(target=_serve, args=(dict(environment), folder, log), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("fader-server serve", timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(environment: dict[str, str], folder: Path, log: Path) -> None:
    from fader_server.__main__ import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    written = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    sys.argv = ["fader-server", "serve"]
    sys.exit(main(["serve"]))
