"""A client of somebody else's in a process of its own, driven by lines: one JSON object for each request and each
answer. What the requests are is said in ``programs/unleash_sdk.py``."""

import json
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from processes import PATIENCE

Answer = dict[str, Any]


class ClientProcess:
    """The running program; to be used as a context manager.

    Args:
        command: Its command line.
        variables: What it needs in its environment; of this process's own it gets nothing that names a proxy.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self._errors = tempfile.TemporaryFile("a+")  # noqa: SIM115  # both ends append
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            env=kept | dict(variables),
        )
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._names = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):  # it has died, and what it was to be told is still here
                    pipe.close()
        self._errors.close()

    def ask(self, do: str, **arguments: Any) -> Answer:
        """Send a request and return its answer; one that is not ``ok`` fails the test."""
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has died: said below, with its last words
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        try:
            line = self._answers.get(timeout=2 * PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no answer to {do!r} within {2 * PATIENCE:g} s:\n{self._said()}") from None
        assert line is not None, f"the client's process died over {do!r}:\n{self._said()}"
        answer: Answer = json.loads(line)
        assert answer.pop("ok"), f"{do!r} failed: {answer['error']}\n{self._said()}"
        return answer

    def create(self, url: str, key: str, *, mode: str = "polling", refresh: int = 3600, **more: Any) -> "Client":
        """A client in that process, as soon as it has its flags.

        Args:
            url: Of the server, without any path.
            key: With which it asks.
            mode: How flags come to it: ``polling`` or ``streaming``.
            refresh: Seconds between polls; by default there is none after the first.
            more: Further settings that this program takes.
        """
        self._names += 1
        name = f"client-{self._names}"
        self.ask("create", client=name, url=url, key=key, mode=mode, refresh=refresh, patience=PATIENCE, **more)
        return Client(self, name)

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-5000:]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)


class Client:
    """One client of those in a process."""

    def __init__(self, process: ClientProcess, name: str) -> None:
        self._process = process
        self._name = name

    def ask(self, do: str, **arguments: Any) -> Answer:
        """A request about this client."""
        return self._process.ask(do, client=self._name, **arguments)

    def answers(self, questions: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Any]:
        """Its answers to some questions, each of what is asked, of which flag, in which context."""
        return list(self.ask("evaluate", questions=questions)["answers"])

    def is_enabled(self, flag: str, **context: Any) -> bool:
        return bool(self.answers([("is enabled", flag, context)])[0])

    @property
    def news(self) -> list[str]:
        """What has happened to it so far."""
        return list(self.ask("news")["news"])

    @property
    def mode(self) -> str:
        """How flags come to it now."""
        return str(self.ask("news")["mode"])

    def close(self) -> None:
        self.ask("close")
