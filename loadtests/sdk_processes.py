"""How a change reaches a hundred processes: ``python -m loadtests.sdk_processes [PROCESSES] [--quick]``.

Each has a real SDK, and asks ``is_enabled`` when that says that something has changed. Beside it, in the same run: a
bare request to the server and back. All of them share the machine's processors, which is what the last one waits for.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import urllib3

from loadtests.crowd import PATIENCE, ending_after, is_quick, percentiles, wanted
from loadtests.tables import show, wants_json
from loadtests.toggled import KEY, Asked, Toggled

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from crowds.orders import Program
from processes import running_server

PROCESSES: Final = 100
CHANGES: Final = 200
QUICK_CHANGES: Final = 40
PAUSE: Final = 0.05
LONGEST: Final = 300
MOST_P99_MS: Final = 60.0


def measure(processes: int, changes: int) -> tuple[list[tuple[Asked, list[int]]], list[float]]:
    """Each change with the moments at which processes followed; and milliseconds of bare requests."""
    followed, bare = [], []
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        flag = Toggled(server)
        pool = urllib3.PoolManager(retries=False)
        crowd = Program("real_sdks", server.url, server.sdk_key(), KEY, str(processes))
        try:
            _all_are(crowd, processes, is_on=False)
            for _ in range(changes):
                time.sleep(PAUSE)
                began = time.perf_counter()
                pool.request("GET", f"{server.url}/health/live")
                bare.append((time.perf_counter() - began) * 1000)
                asked = flag.change()
                followed.append((asked, _all_are(crowd, processes, is_on=flag.is_on)))
        finally:
            crowd.close()
    return followed, bare


def _all_are(crowd: Program, processes: int, *, is_on: bool) -> list[int]:
    times: list[int] = crowd.ask("all_are", is_on=is_on, patience=PATIENCE)["times"]
    if len(times) != processes:
        raise SystemExit(f"{len(times):,} of {processes:,} processes followed")
    return times


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    processes = wanted(PROCESSES, PROCESSES)
    with ending_after(LONGEST):
        followed, bare = measure(processes, QUICK_CHANGES if is_quick() else CHANGES)
    from_request = percentiles((at - asked.sent) / 1e6 for asked, times in followed for at in times)
    rows = [
        ("bare request and answer", *percentiles(bare)),
        ("write answered", *percentiles((asked.answered - asked.sent) / 1e6 for asked, _ in followed)),
        ("from the request until is_enabled follows, each process", *from_request),
        ("… the first process", *percentiles((times[0] - asked.sent) / 1e6 for asked, times in followed)),
        ("… the last process", *percentiles((times[-1] - asked.sent) / 1e6 for asked, times in followed)),
    ]
    title = f"{len(followed)} changes, {processes} processes with an SDK"
    show(title, ("over loopback", "p50 ms", "p99 ms", "max ms"), rows, as_json=wants_json())
    if from_request[1] > MOST_P99_MS:
        print(f"  LIMIT MISSED: a p99 of {from_request[1]:.0f} ms, and not {MOST_P99_MS:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
