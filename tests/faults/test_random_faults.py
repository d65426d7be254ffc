"""Many faults at once, drawn at random, while flags are changed and followed: nobody ever sees what must not be.

``pytest tests/faults/test_random_faults.py --fault-seconds 600 --fault-seed 7`` runs it for longer, with other faults.
The schedule of faults depends on nothing but these two. What is found is printed together with them, and the whole
history stays on disk.
"""

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from faults.checker import Violation, check_counts, check_history, check_memory, check_server_log
from faults.followers import Followers
from faults.history import Event, Fault, Opened, Reached, Record, Recorder, Sample, Write, read_history, records_of
from faults.nemesis import Nemesis, Planned, draw_schedule
from faults.programs.assignment import Assignment, Waypoint
from faults.testbed import HEARTBEAT_SECONDS, KINDS, Testbed, paused, running_testbed
from faults.writers import ENVIRONMENTS, FLAGS, Request, Writer, first_requests
from processes import PATIENCE

WRITERS: Final = 6
PAUSE_OF_WRITERS: Final = 0.15
SHARE_OF_WRITING: Final = 0.85
"""Of the time of trouble, in which flags are changed."""
APPLICATIONS: Final = 4
SDKS_IN_EACH: Final = 5
STREAMS: Final = 30
FAULTS_PER_SECOND: Final = 1.4
ARRIVAL_SECONDS: Final = 30.0
ALLOWED_MEMORY: Final = 300_000_000
KINDS_OF_FOLLOWERS: Final[dict[str, tuple[str, ...]]] = {
    **{f"application {number}": ("kill", "pause") for number in range(APPLICATIONS)},
    "raw streams": ("pause",),
}


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
        self._seconds = seconds
        self.schedule: list[Planned] = draw_schedule(
            random.Random(seed), KINDS | KINDS_OF_FOLLOWERS, seconds=seconds, faults_per_second=FAULTS_PER_SECOND
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
            self._trouble(testbed, followers, [first, *others])
            # First without another write, whose announcement would bring everybody up to date.
            seconds = self._arrive(testbed, followers.values())
            for environment in ENVIRONMENTS:
                self._last_write(first, environment)
            self._arrive(testbed, followers.values())
            for one in followers.values():
                one.end()
            entries, revisions = testbed.log(), testbed.revisions()
            history = read_history(sorted(self.folder.glob("*.jsonl")))
            (self.folder / "log.jsonl.txt").write_bytes(b"\n".join(msgspec.json.encode(entry) for entry in entries))
            found = check_history(entries, revisions, history)
            found += self._check_counts(testbed, history)
            for node, before in zip(testbed.nodes, memory, strict=True):
                text = node.server.log.read_text(errors="replace")
                found += check_server_log(f"node {node.number}", text, testbed.secrets)
                found += check_memory(f"node {node.number}", before, node.memory(), ALLOWED_MEMORY)
            self._report(history, seconds)
        return found

    def _check_counts(self, testbed: Testbed, history: Sequence[Record]) -> Iterator[Violation]:
        survivors = {one.follower for one in records_of(Reached, history)}
        kills = sum(planned.kind == "kill" and planned.target.startswith("application") for planned in self.schedule)
        return check_counts(testbed.counts(), records_of(Sample, history), survivors, kills)

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

    def _followers(self, testbed: Testbed, stack: ExitStack) -> dict[str, Followers]:
        """By the name that faults have for them."""
        keys = {environment: testbed.nodes[0].server.sdk_key(environment) for environment in ENVIRONMENTS}
        (self.folder / "caches").mkdir()

        def started(program: str, name: str, count: int, urls: Sequence[str]) -> Followers:
            assignment = Assignment(
                name=name,
                life=0,
                history="",
                urls=tuple(urls),
                keys=keys,
                followers=count,
                flags=FLAGS,
                heartbeat_seconds=HEARTBEAT_SECONDS,
                folder=str(self.folder / "caches"),
                seed=self.seed,
            )
            followers = Followers(program, self.folder, assignment)
            stack.callback(followers.close)
            followers.start()
            return followers

        applications = {
            f"application {number}": started("sampling_sdks", f"sdk-{number}", SDKS_IN_EACH, [testbed.balancer.url])
            for number in range(APPLICATIONS)
        }
        return applications | {"raw streams": started("raw_streams", "stream", STREAMS, testbed.urls)}

    def _trouble(self, testbed: Testbed, followers: Mapping[str, Followers], writers: Sequence[Writer]) -> None:
        def break_(planned: Planned) -> Callable[[], None]:
            if planned.target not in followers:
                return testbed.break_(planned)
            if planned.kind == "pause":
                return paused(followers[planned.target].process.pid)
            followers[planned.target].kill()
            return followers[planned.target].start

        def send_home() -> None:
            for writer in writers:
                writer.stop()

        nemesis = Nemesis(self.schedule, break_, self._recorder)
        # Before the trouble is over: what nobody heard of must be found without the announcement of a later write.
        evening = threading.Timer(SHARE_OF_WRITING * self._seconds, send_home)
        for writer in writers:
            writer.start()
        evening.start()
        nemesis.run()
        evening.join()
        for writer in writers:
            writer.join(PATIENCE)
            assert not writer.is_alive()
            if writer.failure is not None:
                raise writer.failure
        if nemesis.failures:
            raise nemesis.failures[0]

    def _arrive(self, testbed: Testbed, followers: Collection[Followers]) -> float:
        """Wait until everybody has what there is now; how many seconds that took."""
        began = time.monotonic()
        waypoint = Waypoint(revisions=testbed.revisions(), patience=ARRIVAL_SECONDS)
        for one in followers:
            one.tell(waypoint)
        for one in followers:
            one.arrived()
        return time.monotonic() - began

    def _last_write(self, writer: Writer, environment: str) -> None:
        """Writing works again, too."""
        request = Request(
            method="POST",
            path=f"/projects/default/flags/{FLAGS[0]}/environments/{environment}/rules",
            environments=(environment,),
        )
        assert writer.send(request, patience=PATIENCE).outcome == "done"

    def _report(self, history: Sequence[Record], seconds: float) -> None:
        writes = records_of(Write, history)
        outcomes = {
            outcome: sum(write.outcome == outcome for write in writes)
            for outcome in ("done", "refused", "unchanged", "unknown")
        }
        streams = sum(isinstance(record, Opened) for record in history)
        events = sum(isinstance(record, Event) for record in history)
        samples = records_of(Sample, history)
        print(
            f"\n{len(records_of(Fault, history))} faults; writes: {outcomes}, "
            f"{sum(write.tries > 1 for write in writes)} of them tried again; "
            f"{streams} raw streams with {events} events; {len(samples)} answers of SDKs; "
            f"everybody had arrived {seconds:.1f} s after the last fault"
        )
        assert outcomes["done"] > len(first_requests()) + 5, "hardly anything could be written, so this proves nothing"
        assert samples
        assert events


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
