"""Processes of their own that follow servers, seen from the test that starts, tells and kills them."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from faults.programs.assignment import Assignment, Waypoint
from processes import PATIENCE

TESTS: Final = Path(__file__).parents[1]


class Followers:
    """A process that follows. It may be killed and started again, as often as one likes.

    Args:
        program: Which one.
        folder: Where it records what it sees.
        assignment: Whom to follow; the file to record in is added for each of its lives.
    """

    def __init__(self, program: str, folder: Path, assignment: Assignment) -> None:
        self._program = program
        self._folder = folder
        self._assignment = assignment
        self._lives = 0
        self._log = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def start(self) -> None:
        self._lives += 1
        name = f"{self._assignment.name}.{self._lives}"
        self._log = self._folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"faults.programs.{self._program}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=TESTS,
            )  # fmt: skip
        history = str(self._folder / f"{name}.jsonl")
        self.tell(msgspec.structs.replace(self._assignment, life=self._lives, history=history))

    def tell(self, line: Assignment | Waypoint) -> None:
        """Whom to follow, or where to arrive."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(line) + b"\n")
        self.process.stdin.flush()

    def arrived(self) -> None:
        """Wait until they have arrived, or given up."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), self._log.read_text()

    def end(self) -> None:
        """Let them go home."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        said = self._log.read_text()
        assert status == 0, said
        assert "Traceback" not in said, said

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self._close_pipes()

    def close(self) -> None:
        if self._process is not None:
            if self.process.poll() is None:
                self.kill()
            self._close_pipes()

    def _close_pipes(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
