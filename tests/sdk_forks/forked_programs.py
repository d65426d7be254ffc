"""Runs programs that fork, and waits until every one of their processes has followed."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.waiting import PATIENCE, eventually

PROGRAMS = Path(__file__).with_name("programs")
BIN = Path(sys.executable).parent

Answers = dict[int, bool]
"""What each process, by its id, said last."""


def environment(url: str, **more: str) -> dict[str, str]:
    """For a program that uses the default client."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FADER_")}
    ours = {"FADER_URL": url, "FADER_SDK_KEY": "default:production.fork-test", "FADER_CACHE_DIR": "off"}
    return clean | ours | {"PYTHONPATH": str(PROGRAMS)} | more


class Program:
    """A program with all the processes that it makes, none of which outlives the test."""

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self._errors = tempfile.TemporaryFile("a+")  # noqa: SIM115  # all ends append
        self.lines: list[Any] = []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._session = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        # Whoever is left belongs to the process group that this program began, unless it has begun one of its
        # own; those report, and are ended by their number.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._session, signal.SIGKILL)
        for pid in {line["pid"] for line in self.lines if "pid" in line}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) != os.getsid(0):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._errors.close()

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait(self) -> int:
        return self._process.wait(PATIENCE * 2)

    def end(self) -> None:
        """Ask the first process to end, as a supervisor would, and wait until it has."""
        self._process.terminate()
        self.wait()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def reports(self) -> Answers:
        """What each process has reported last."""
        return {line["pid"]: line["enabled"] for line in list(self.lines) if "pid" in line}

    def roles(self) -> Counter[str]:
        return Counter({line["pid"]: line["role"] for line in list(self.lines) if "pid" in line}.values())

    def processes(self) -> int:
        """How many processes the program says it has, or 0 before it does."""
        assert self.alive, self.errors()
        return next((line["processes"] for line in list(self.lines) if "processes" in line), 0)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(("{", "[{")):  # not a program's own banner
                self.lines.append(json.loads(line))


def assert_all_follow(server: ScriptedServer, answers: Callable[[], Answers], processes: int, program: Program) -> None:
    """The point of the matrix: toggles made after the fork reach every process, on the way up and on the way
    down."""
    for turn, enabled in enumerate((True, False)):
        server.change(flag("toggled", enabled))

        def all_have_followed(enabled: bool = enabled) -> bool:
            latest = answers()
            return len(latest) >= processes and all(value is enabled for value in latest.values())

        try:
            eventually(all_have_followed, "all have followed")
        except AssertionError:
            instances = {request.headers["fader-instance"] for request in server.asked("stream")}
            raise AssertionError(
                f"toggle {turn + 1} ({enabled}): {processes} processes wanted, last answers {answers()}; "
                f"{server.open_streams} streams are open, {len(instances)} instances have asked; "
                f"roles {dict(program.roles())}\n{program.errors()}"
            ) from None


class WebProgram(Program):
    """A web server with several workers that inherit one listening socket. ``{fd}`` in the command stands for
    it."""

    def __init__(self, command: list[str], env: Mapping[str, str], *, cwd: Path | None = None) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.port: int = self._listener.getsockname()[1]
        number = self._listener.fileno()
        command = [part.replace("{fd}", str(number)) for part in command]
        super().__init__(command, env, cwd=cwd, pass_fds=(number,))

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self._listener.close()

    def look(self, workers: int) -> Answers:
        """The answer of each of so many workers, or of fewer when one dies or takes no request.

        Whoever has answered is held in the middle of its answer until all have, and takes no other request meanwhile:
        each next one has to be taken by somebody else. Whom the kernel lets accept is no matter.
        """
        assert self.alive, self.errors()
        answers: Answers = {}
        with Gate() as gate:
            while len(answers) < workers:
                try:
                    answer = gate.ask(self.port)
                except (OSError, http.client.HTTPException, ValueError):
                    break  # a worker that was being replaced; the caller asks again
                answers[answer["pid"]] = answer["enabled"]
        return answers


class Gate:
    """Where workers that have answered are held: a pipe from which reading ends when this ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = f"{self._folder.name}/gate"
        self._held: list[tuple[http.client.HTTPConnection, http.client.HTTPResponse]] = []
        os.mkfifo(self._path)
        self._writer = os.open(self._path, os.O_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._writer)
        for connection, response in self._held:
            with contextlib.suppress(OSError, http.client.HTTPException):
                response.read()  # to the end, after which nobody wants the pipe any longer
            connection.close()
        self._folder.cleanup()

    def ask(self, port: int) -> Any:
        """What some worker answers, which is then held.

        Raises:
            OSError, http.client.HTTPException, ValueError: None answers, or not to the end.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", self._path, headers={"Connection": "close"})
            response = connection.getresponse()
            answer = json.loads(response.readline())
        except BaseException:
            connection.close()
            raise
        self._held.append((connection, response))
        return answer


class Watch:
    """Asks so many workers, all of them each time."""

    def __init__(self, look: Callable[[int], Answers], workers: int) -> None:
        self._look = look
        self._workers = workers
        self.known: set[int] = set()
        """All processes that have ever answered."""

    def __call__(self) -> Answers:
        """What the workers say now; those of them that answer."""
        answers = self._look(self._workers)
        self.known |= answers.keys()
        return answers

    def until_all_answer(self) -> None:
        """Wait until all do, which is when they have all been forked."""
        eventually(lambda: len(self()) == self._workers, f"answers of {self._workers} workers", within=PATIENCE * 2)

    def until_known(self, processes: int) -> None:
        """Wait until so many processes have answered, former ones included."""
        eventually(lambda: self() and len(self.known) >= processes, f"{processes} processes", within=PATIENCE * 2)


@contextlib.contextmanager
def toggled_server(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """A server with the flag that all programs watch, off at first."""
    server = ScriptedServer(tls=tls)
    server.world.flags["toggled"] = flag("toggled", False)
    yield server
    server.stop()
