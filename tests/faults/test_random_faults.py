"""Many faults at once, drawn at random, while flags are changed and followed: nobody ever sees what must not be.

``pytest tests/faults/test_random_faults.py --fault-seconds 600 --fault-seed 7`` runs it for longer, with other faults.
The schedule of faults depends on nothing but these two. What is found is printed together with them, and the whole
history stays on disk.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pytest

from faults.checker import (
    Violation,
    by_environment,
    check_arrival,
    check_log,
    check_memory,
    check_no_way_back,
    check_real_time,
    check_samples,
    check_server_log,
    check_streams,
    check_writes,
)
from faults.history import Event, Fault, Opened, Reached, Record, Recorder, Sample, Write, read_history
from faults.nemesis import Nemesis, Planned, draw_schedule
from faults.programs.assignment import Assignment, Ending
from faults.testbed import HEARTBEAT_SECONDS, KINDS, Testbed, running_testbed
from faults.writers import ENVIRONMENTS, FLAGS, Request, Writer, first_requests
from processes import PATIENCE

T = TypeVar("T", bound=Record)

WRITERS: Final = 6
PAUSE_OF_WRITERS: Final = 0.2
SDK_PROCESSES: Final = 4
SDKS_IN_EACH: Final = 5
STREAMS: Final = 30
FAULTS_PER_SECOND: Final = 1.6
ARRIVAL_SECONDS: Final = 30.0
ALLOWED_MEMORY: Final = 300_000_000
TESTS: Final = Path(__file__).parents[1]


class Followers:
    """Processes that follow, and their end."""

    def __init__(self, program: str, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"faults.programs.{program}"],
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, cwd=TESTS,
            )  # fmt: skip

    def tell(self, line: Assignment | Ending) -> None:
        """First whom to follow, and in the end, where to arrive."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(line) + b"\n")
        self._process.stdin.flush()

    def ended(self) -> None:
        """Wait until they have."""
        assert self._process.wait(ARRIVAL_SECONDS + PATIENCE) == 0, f"{self.name}:\n{self._log.read_text()}"

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)
        assert self._process.stdin is not None
        self._process.stdin.close()


class Run:
    """One run: its parts, and what it leaves.

    Args:
        folder: For everything that is written.
        seed: Of all that is drawn.
        seconds: How long there is trouble.
    """

    def __init__(self, folder: Path, seed: int, seconds: float) -> None:
        self.folder = folder
        self.seed = seed
        self.schedule: list[Planned] = draw_schedule(
            random.Random(seed), KINDS, seconds=seconds, faults_per_second=FAULTS_PER_SECOND
        )
        self._recorder = Recorder(folder / "test.jsonl")

    def violations(self) -> list[Violation]:
        """Do it, and think about it."""
        with ExitStack() as stack:
            stack.callback(self._recorder.close)
            testbed = stack.enter_context(running_testbed(self.folder))
            first, *others = self._writers(testbed)
            for request in first_requests():
                assert first.send(request).outcome == "done"
            followers = self._followers(testbed, stack)
            memory = [node.memory() for node in testbed.nodes]
            self._trouble(testbed, [first, *others])
            for environment in ENVIRONMENTS:
                self._last_write(first, environment)
            entries, revisions = testbed.log(), testbed.revisions()
            for one in followers:
                one.tell(Ending(revisions=revisions, patience=ARRIVAL_SECONDS))
            for one in followers:
                one.ended()
            history = read_history(sorted(self.folder.glob("*.jsonl")))
            found = list(check_log(entries, revisions))
            (self.folder / "log.jsonl.txt").write_bytes(b"\n".join(msgspec.json.encode(entry) for entry in entries))
            writes = _of(Write, history)
            found += check_writes(entries, writes)
            found += check_real_time(writes)
            if not found:
                logs = by_environment(entries)
                streams = [record for record in history if isinstance(record, Opened | Event)]
                found += check_streams(logs, streams, writes)
                found += check_samples(logs, _of(Sample, history), writes)
                found += check_arrival(logs, _of(Reached, history))
            found += check_no_way_back(_of(Sample, history))
            for node, before in zip(testbed.nodes, memory, strict=True):
                text = node.server.log.read_text(errors="replace")
                found += check_server_log(f"node {node.number}", text, testbed.secrets)
                found += check_memory(f"node {node.number}", before, node.memory(), ALLOWED_MEMORY)
            self._report(history)
        return found

    def _writers(self, testbed: Testbed) -> list[Writer]:
        urls = (testbed.balancer.url,)
        return [
            Writer(
                f"writer-{number}",
                urls if number % 2 else testbed.urls,
                testbed.admin_token,
                self._recorder,
                random.Random(f"{self.seed} {number}"),
                PAUSE_OF_WRITERS,
            )
            for number in range(WRITERS)
        ]

    def _followers(self, testbed: Testbed, stack: ExitStack) -> list[Followers]:
        keys = {environment: testbed.nodes[0].server.sdk_key(environment) for environment in ENVIRONMENTS}
        (self.folder / "caches").mkdir()

        def followers(program: str, name: str, count: int, urls: Sequence[str]) -> Followers:
            assignment = Assignment(
                name=name,
                history=str(self.folder / f"{name}.jsonl"),
                urls=tuple(urls),
                keys=keys,
                followers=count,
                flags=FLAGS,
                heartbeat_seconds=HEARTBEAT_SECONDS,
                folder=str(self.folder / "caches"),
                seed=self.seed,
            )
            started = Followers(program, name, self.folder / f"{name}.log")
            stack.callback(started.close)
            started.tell(assignment)
            return started

        return [
            *(
                followers("sampling_sdks", f"sdk-{number}", SDKS_IN_EACH, [testbed.balancer.url])
                for number in range(SDK_PROCESSES)
            ),
            followers("raw_streams", "stream", STREAMS, testbed.urls),
        ]

    def _trouble(self, testbed: Testbed, writers: Sequence[Writer]) -> None:
        nemesis = Nemesis(self.schedule, testbed.break_, self._recorder)
        for writer in writers:
            writer.start()
        nemesis.run()
        for writer in writers:
            writer.stop()
        for writer in writers:
            writer.join(PATIENCE)
            assert not writer.is_alive()
            if writer.failure is not None:
                raise writer.failure
        if nemesis.failures:
            raise nemesis.failures[0]

    def _last_write(self, writer: Writer, environment: str) -> None:
        """What everybody must arrive at."""
        request = Request(
            method="POST",
            path=f"/projects/default/flags/{FLAGS[0]}/environments/{environment}/rules",
            environments=(environment,),
        )
        assert writer.send(request, patience=PATIENCE).outcome == "done"

    def _report(self, history: Sequence[Record]) -> None:
        writes = _of(Write, history)
        outcomes = {
            outcome: sum(write.outcome == outcome for write in writes)
            for outcome in ("done", "refused", "unchanged", "unknown")
        }
        streams = sum(isinstance(record, Opened) for record in history)
        events = sum(isinstance(record, Event) for record in history)
        samples = _of(Sample, history)
        print(
            f"\n{len(_of(Fault, history))} faults; writes: {outcomes}, "
            f"{sum(write.tries > 1 for write in writes)} of them tried again; "
            f"{streams} raw streams with {events} events; {len(samples)} answers of SDKs"
        )
        assert outcomes["done"] > len(self.schedule), "hardly anything could be written, so this proves nothing"
        assert samples
        assert events


def _of(kind: type[T], history: Sequence[Record]) -> list[T]:
    return [record for record in history if isinstance(record, kind)]


@contextmanager
def _kept_on_failure() -> Iterator[Path]:
    """A folder that stays if the block raises."""
    folder = Path(tempfile.mkdtemp(prefix="fader-faults-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.xdist_group("random-faults")
def test_random_faults(fault_seed: int, fault_seconds: float) -> None:
    with _kept_on_failure() as folder:
        run = Run(folder, fault_seed, fault_seconds)
        schedule = "\n".join(str(planned) for planned in run.schedule)
        print(f"seed {fault_seed}, {fault_seconds:g} s; the history is in {folder}\n{schedule}")
        found = run.violations()
        shown = "\n".join(str(violation) for violation in found[:20])
        assert not found, f"{len(found)} violations with seed {fault_seed}, whose history is in {folder}:\n{shown}"
