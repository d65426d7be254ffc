"""What happens when all SDKs lose their server at once: ``python -m loadtests.reconnect_storm [STREAMS]``.

As many streams as the machine allows, each of which checks what it is sent and comes back as an SDK does; a server with
its limits as they are by default; and an application with a real SDK, which evaluates flags all the time. Then: they
all come for the first time, are all cut off by the network, and lose the server to ``kill -9``.
"""

import json
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

import psutil
import urllib3

from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from crowds.orders import Program
from processes import ServerProcess, running_server

STREAMS: Final = 10_000
FLAGS: Final = 200
PATIENCE: Final = 600.0
DOWN_SECONDS: Final = 2.0
MOST_LAG_MS: Final = 1_000.0
MOST_EVALUATION_US: Final = 1_000.0
_SPARE_FILES: Final = 300


class Watch:
    """What can be seen of the server from outside, for as long as the block lasts."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered: list[float] = []
        self.unanswered = 0
        self.most_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=10.0)
        while not self._is_over.wait(0.02):
            began = time.perf_counter()
            try:
                pool.request("GET", f"{self._server.url}/health/live")
                self.answered.append((time.perf_counter() - began) * 1000)
                self.most_bytes = max(self.most_bytes, psutil.Process(self._server.process.pid).memory_info().rss)
            except (urllib3.exceptions.HTTPError, psutil.Error):
                self.unanswered += 1

    @property
    def lag(self) -> float:
        """The 99th percentile of milliseconds until the server answered what costs nothing."""
        return statistics.quantiles(self.answered, n=100)[98] if len(self.answered) > 1 else float("nan")


def _fill(server: ServerProcess) -> None:
    constraint = {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]}
    for number in range(FLAGS):
        server.admin.create_flag(f"flag-{number:03}", description="One of many")
        body = {"enabled": True, "rules": [{"constraints": [constraint], "rollout": {"percentage": 25}}]}
        server.admin.ok("PUT", f"/projects/default/flags/flag-{number:03}/environments/production", body)
    server.admin.create_flag("label", type="string", variants=[{"name": "a", "value": "served"}], off_variant="a")


def _all_current(crowd: Program, revision: int | None = None) -> dict[str, Any]:
    """Wait until all follow, and have this revision."""
    deadline = time.monotonic() + PATIENCE
    while True:
        report: dict[str, Any] = crowd.ask("report")
        if report["violations"]:
            raise SystemExit("\n".join(report["violations"]))
        wanted = report["current"] if revision is None else report["revisions"].get(str(revision), 0)
        if wanted == report["streams"]:
            return report
        if time.monotonic() > deadline:
            raise SystemExit(f"not all came back: {report}")
        time.sleep(0.01)


class Storm:
    """One server, its crowd, and an application."""

    def __init__(self, server: ServerProcess, streams: int) -> None:
        self.server = server
        self.streams = streams
        self.crowd = Program("many_streams", server.url, server.sdk_key())
        self.application = Program("evaluating_sdk", server.url, server.sdk_key(), "label", "default")
        self.rows: list[tuple[Any, ...]] = []
        self.histograms: list[tuple[str, list[int]]] = []
        self.failed = False

    def watch(self, what: str, happens: Callable[[], object]) -> None:
        """Let something happen, wait until all are back, and take everything down."""
        self.application.ask("mark")
        with Watch(self.server) as watch:
            self.crowd.ask("mark")
            happens()
            deadline = time.monotonic() + PATIENCE
            while self.crowd.ask("report")["back"] < self.streams and time.monotonic() < deadline:
                time.sleep(0.05)
            report = _all_current(self.crowd)
        self._note(what, report, self.application.ask("report"), watch)

    def _note(self, what: str, report: dict[str, Any], evaluated: dict[str, Any], watch: Watch) -> None:
        outcomes = report["outcomes"]
        refused = sum(count for why, count in outcomes.items() if why in {"503", "429"})
        self.rows.append(
            (
                what,
                report["back_50"],
                report["back_99"],
                report["back_100"],
                sum(report["attempts"]),
                refused,
                watch.most_bytes / 1e6,
                watch.lag,
                evaluated["p99"],
                evaluated["max"] / 1000,
                evaluated["evaluations"],
            )
        )
        self.histograms.append((what, report["attempts"]))
        self.failed |= watch.lag > MOST_LAG_MS or evaluated["p99"] > MOST_EVALUATION_US or evaluated["wrong"] > 0

    def toggle(self, times: int) -> tuple[float, float]:
        """Milliseconds until changes have reached everybody: the median, and the longest."""
        took = []
        for number in range(times):
            began = time.perf_counter()
            revision = self.server.admin.verb("flag-000", "off" if number % 2 == 0 else "on")["revision"]
            _all_current(self.crowd, revision)
            took.append((time.perf_counter() - began) * 1000)
        return statistics.median(took), max(took)

    def close(self) -> None:
        """End the programs."""
        self.crowd.close()
        self.application.close()


def _restart(server: ServerProcess) -> None:
    server.kill()
    time.sleep(DOWN_SECONDS)
    server.start()


def _change_something(storm: Storm) -> None:
    storm.crowd.ask("cut")
    for _ in range(3):  # so that those who come back have missed something
        storm.server.admin.verb("flag-001", "off")
        storm.server.admin.verb("flag-001", "on")


def _possible(wanted: int) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - _SPARE_FILES)


def _wanted() -> int:
    given = [argument for argument in sys.argv[1:] if argument.isdigit()]
    return int(given[0]) if given else STREAMS


def main() -> int:
    """Measure and print; 1 if a limit was passed."""
    streams = _possible(_wanted())
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        _fill(server)
        storm = Storm(server, streams)
        try:
            storm.watch("all come for the first time", lambda: storm.crowd.ask("open", count=streams))
            reached = [("before", *storm.toggle(5))]
            storm.watch("all connections are cut", lambda: _change_something(storm))
            reached.append(("after the cut", *storm.toggle(5)))
            storm.watch("the server is killed, and started again", lambda: _restart(server))
            reached.append(("after the restart", *storm.toggle(5)))
            storm.watch("the same once more", lambda: _restart(server))
            reached.append(("after the second restart", *storm.toggle(5)))
        finally:
            storm.close()
    _show(storm, reached)
    return int(storm.failed)


def _show(storm: Storm, reached: list[tuple[str, float, float]]) -> None:
    columns = (
        "what happens",
        "50 % back s",
        "99 % s",
        "100 % s",
        "attempts",
        "refused",
        "server MB",
        "health p99 ms",
        "is_enabled p99 µs",
        "max ms",
        "evaluations",
    )
    show(f"reconnect storm, {storm.streams:,} streams", columns, storm.rows, as_json=wants_json())
    show("a change reaches all of them", ("when", "median ms", "max ms"), reached, as_json=wants_json())
    if wants_json():
        print(json.dumps({"measurement": "attempts in each second", "histograms": dict(storm.histograms)}))
        return
    for what, attempts in storm.histograms:
        print(f"\n  attempts in each second: {what}")
        most = max(attempts, default=1)
        for second, count in enumerate(attempts):
            print(f"  {second:>4} s {count:>7,} {'█' * round(40 * count / most)}")


if __name__ == "__main__":
    sys.exit(main())
