"""How long a change takes to reach a process: ``python -m loadtests.propagation``.

From the moment when the admin API has answered to the moment when ``is_enabled`` says something else, in a client that
streams, over loopback. Beside it, in the same run: a bare request to the server and back, as the floor.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import urllib3

from fader import Client
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from processes import running_server

TOGGLES: Final = 400
PAUSE: Final = 0.005
PATIENCE: Final = 10.0
MOST_P50_MS: Final = 10.0
MOST_P99_MS: Final = 50.0


def measure() -> dict[str, list[float]]:
    """Milliseconds of each toggle, by what was measured."""
    figures: dict[str, list[float]] = {
        "bare request and answer": [],
        "write acknowledged": [],
        "write → is_enabled": [],
    }
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        server.admin.create_flag("toggled")
        pool = urllib3.PoolManager(retries=False)
        with Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=None) as flags:
            if not flags.wait_until_ready(PATIENCE):
                raise SystemExit("the client cannot reach the server")
            is_on = False
            for _ in range(TOGGLES):
                began = time.perf_counter()
                pool.request("GET", f"{server.url}/health/live")
                figures["bare request and answer"].append((time.perf_counter() - began) * 1000)
                is_on = not is_on
                began = time.perf_counter()
                server.admin.verb("toggled", "on" if is_on else "off")
                answered = time.perf_counter()
                figures["write acknowledged"].append((answered - began) * 1000)
                while flags.is_enabled("toggled", "user-42") is not is_on:
                    if time.perf_counter() - answered > PATIENCE:
                        raise SystemExit("a change did not arrive")
                    time.sleep(0.0002)  # gives the client's thread the interpreter, as any application's waiting does
                figures["write → is_enabled"].append((time.perf_counter() - answered) * 1000)
                time.sleep(PAUSE)
    return figures


def main() -> int:
    """Measure and print; 1 if a limit was passed."""
    figures = measure()
    floor = statistics.median(figures["bare request and answer"])
    rows = []
    for name, milliseconds in figures.items():
        cuts = statistics.quantiles(milliseconds, n=100)
        rows.append((name, cuts[49], cuts[98], max(milliseconds), cuts[49] / floor))
    columns = ("from the answer on, loopback", "p50 ms", "p99 ms", "max ms", "p50 of floor")
    show(f"propagation, {TOGGLES} changes, one client", columns, rows, as_json=wants_json())
    _, p50, p99, *_ = rows[-1]
    if p50 > MOST_P50_MS or p99 > MOST_P99_MS:
        print(f"  MORE THAN {MOST_P50_MS:g} ms (p50) or {MOST_P99_MS:g} ms (p99)")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
