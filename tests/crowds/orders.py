"""Orders to a program that runs beside a test, and its answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_TESTS = Path(__file__).parent.parent


class Program:
    """A running program.

    Args:
        name: Of the module in this package.
        arguments: For it.
    """

    def __init__(self, name: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"crowds.{name}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_TESTS,
            text=True,
        )

    def ask(self, order: str, **named: Any) -> Any:
        """Give an order, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": order, **named}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def obey(orders: IO[str], answer: Callable[[dict[str, Any]], Any]) -> None:
    """In the program: carry out orders until there are no more."""
    for line in orders:
        print(json.dumps(answer(json.loads(line))), flush=True)
