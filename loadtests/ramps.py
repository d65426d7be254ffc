"""How soon harm is undone, how often health is: ``python -m loadtests.ramps [--runs N] [--healthy N] [--kills N]``.

Real server processes, real PostgreSQL, and a crowd of processes with real SDKs, which report as often as they do
everywhere. Three measurements, each with its limit: how long after the first user fails because of a release it is off,
and acknowledged by all processes; how many healthy releases are turned back; and what becomes of a ramp when the server
that moves it is killed in the middle of a step.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from loadtests.crowd import ending_after
from loadtests.tables import show, wants_json

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from crowds.orders import Program
from processes import ServerProcess, running_server
from ramped_flags import path, ramp
from services.postgres import PostgresServer

PROCESSES: Final = 20
USERS: Final = 5_000
RUNS: Final = 20
HEALTHY: Final = 50
KILLS: Final = 3
LONGEST: Final = 900
PATIENCE: Final = 60.0

RATE: Final = 50.0
"""Users who come to each process in a second."""
FAILING: Final = 0.005
FAILING_WITH: Final = 0.1
"""Of the users with the feature, from the moment on at which it breaks."""
MOST_SECONDS: Final = 10.0

HEALTHY_RATE: Final = 5.0
"""Each of these users meets all features."""
HEALTHY_FAILING: Final = 0.02
HEALTHY_SECONDS: Final = 15.0
"""How long a step takes."""
MOST_UNLIKELY: Final = 0.001
"""More releases may be turned back than were promised with this probability only; else the promise is broken."""
ALPHA: Final = 0.05

SHARES: Final = (1, 5, 10, 20, 40, 60, 80)
STEP_SECONDS: Final = 2.0
KILLED_IN_STEP: Final = 3
MOST_TAKE_OVER_SECONDS: Final = 10.0
LEADS: Final = '"lease": "ramps"'
"""What is in the log of a server that has begun to move ramps."""

Row = tuple[str, str, str]


def begin(server: ServerProcess, flag: str, steps: list[tuple[float, float]], *, guarded: bool = True) -> None:
    """A new flag, in a ramp with these steps: per cent, and seconds."""
    server.admin.create_flag(flag)
    plan = {
        "steps": [
            {"percentage": share, "hold_seconds": seconds, "least_exposed": 100 if guarded else 0}
            for share, seconds in steps
        ],
        "guards": [{"id": "errors", "metric": flag}] if guarded else [],
        "bake_seconds": 0,
        "alpha": ALPHA,
    }
    server.admin.ok("POST", path(flag), plan)


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.02) -> Any:
    """Wait until something holds, and return what it gave."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {patience:g} s in vain for {what}")
        time.sleep(pause)
    return found


# --- harm ---------------------------------------------------------------------------------------------------------


def harm(server: ServerProcess, crowd: Program, runs: int) -> list[tuple[float, float, int]]:
    """Of each run: seconds from the first failure until the release is off, until all processes have acknowledged
    that, and how many users failed because of it."""
    return [_undone(server, crowd, f"broken-{number}") for number in range(runs)]


def _undone(server: ServerProcess, crowd: Program, flag: str) -> tuple[float, float, int]:
    traffic = {"flags": [flag], "rate": RATE, "failing": FAILING}
    begin(server, flag, [(10, 3600), (50, 3600)])
    crowd.ask("traffic", **traffic, failing_with=FAILING)
    until(lambda: ramp(server, flag)["guards"][0]["treatment"]["exposed"] >= 100, "users with the feature", pause=0.2)
    crowd.ask("traffic", **traffic, failing_with=FAILING_WITH)
    until(lambda: crowd.ask("failures"), "the first failure")
    found = until(lambda: _is_over(server, flag), f"{flag} to be turned back")
    off = time.monotonic_ns()
    if found["status"] != "rolled_back":
        raise SystemExit(f"{flag} is {found['status']}: {found['why']}")
    place = f"/projects/default/environments/production/acknowledgements?revision={found['revision']}"
    until(lambda: _is_everywhere(server.admin.ok("GET", place)), "all processes to acknowledge")
    acknowledged = time.monotonic_ns()
    failures = crowd.ask("failures")
    crowd.ask("traffic")
    return (off - failures[0]) / 1e9, (acknowledged - failures[0]) / 1e9, len(failures)


def _is_everywhere(found: dict[str, Any]) -> bool:
    return bool(found["complete"]) and found["applied"] >= PROCESSES


def _is_over(server: ServerProcess, flag: str) -> dict[str, Any] | None:
    found = ramp(server, flag)
    return found if found["status"] not in ("running", "baking") else None


# --- health -------------------------------------------------------------------------------------------------------


def health(server: ServerProcess, crowd: Program, number: int) -> dict[str, list[str]]:
    """How so many ramps at once have ended that do no harm: flags by status."""
    flags = [f"healthy-{each}" for each in range(number)]
    for flag in flags:
        begin(server, flag, [(10, HEALTHY_SECONDS), (50, HEALTHY_SECONDS), (100, 0)])
    crowd.ask("traffic", flags=flags, rate=HEALTHY_RATE, failing=HEALTHY_FAILING, failing_with=HEALTHY_FAILING)
    ended: dict[str, list[str]] = {}
    for flag in flags:
        found = until(lambda flag=flag: _is_over(server, flag), f"{flag} to end", 6 * HEALTHY_SECONDS, pause=0.5)
        ended.setdefault(found["status"], []).append(flag)
    crowd.ask("traffic")
    return ended


def most_turned_back(number: int) -> int:
    """How many of so many healthy releases may be turned back, so that more are as good as impossible where each is
    with a probability of at most ``ALPHA``."""
    tail, probability, turned_back = 1.0, (1 - ALPHA) ** number, 0
    while (tail := tail - probability) > MOST_UNLIKELY:
        probability *= (number - turned_back) / (turned_back + 1) * ALPHA / (1 - ALPHA)
        turned_back += 1
    return turned_back


# --- a killed leader ----------------------------------------------------------------------------------------------


def kills(folder: Path, number: int) -> tuple[list[float], list[str]]:
    """Seconds from each kill until the other server has moved the ramp; and what was wrong with the steps."""
    took, wrong = [], []
    with closing(PostgresServer()) as postgres:
        postgres.start()
        for each in range(number):
            seconds, faults = _taken_over(folder / f"kill-{each}", postgres.create_database())
            took.append(seconds)
            wrong += faults
    return took, wrong


def _taken_over(folder: Path, database: str) -> tuple[float, list[str]]:
    folder.mkdir()
    first = ServerProcess(folder / "first", {"DATABASE_URL": database, "FADER_POLL_SECONDS_WITHOUT_BUS": "0.2"})
    with closing(first), closing(first.sibling(folder / "second")) as second:
        first.start()
        second.start()
        begin(first, "led", [(share, STEP_SECONDS) for share in SHARES], guarded=False)
        until(lambda: ramp(first, "led")["step"] == KILLED_IN_STEP, "a step to begin")
        leader, other = (first, second) if LEADS in first.log.read_text() else (second, first)
        time.sleep(STEP_SECONDS / 2)
        killed = time.time()
        leader.kill()
        until(lambda: _is_over(other, "led"), "the ramp to end")
        history = _history(other)
    next_step = min(at for at, _ in history if at > killed)
    return next_step - killed, _faults(history)


def _history(server: ServerProcess) -> list[tuple[float, dict[str, Any]]]:
    """The environment's changes, oldest first, with their times."""
    items = server.admin.ok("GET", "/projects/default/changes?environment=production&limit=200")["items"]
    return [(datetime.fromisoformat(one["at"]).timestamp(), one) for one in reversed(items)]


def _faults(history: list[tuple[float, dict[str, Any]]]) -> list[str]:
    changes = [change for _, change in history]
    revisions = [change["revision"] for change in changes]
    shares = [
        change["after"]["rules"][0]["rollout"]["percentage"]
        for change in changes
        if change["action"] in ("on", "rollout")
    ]
    faults = []
    if shares != list(SHARES):
        faults.append(f"steps were skipped or done twice: {shares}")
    if revisions != list(range(revisions[0], revisions[0] + len(revisions))):
        faults.append(f"revisions have gaps: {revisions}")
    return faults


# --- all of it ----------------------------------------------------------------------------------------------------


def _seconds(figures: list[float]) -> str:
    return f"{statistics.median(figures):.1f} / {max(figures):.1f} s"


def _verdict(is_kept: bool, limit: str) -> str:
    return limit if is_kept else f"MISSED: {limit}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.ramps")
    parser.add_argument("--runs", type=int, default=RUNS, help="releases that do harm")
    parser.add_argument("--healthy", type=int, default=HEALTHY, help="releases that do not")
    parser.add_argument("--kills", type=int, default=KILLS, help="leaders that are killed")
    parser.add_argument("--json", action="store_true", help="documents instead of a table")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 if a limit was missed."""
    told = _arguments()
    rows: list[Row] = []
    wrong: list[str] = []
    with ending_after(LONGEST), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if told.runs or told.healthy:
            with running_server(folder / "server") as server:
                arguments = (server.url, server.sdk_key(), str(PROCESSES), str(USERS))
                with closing(Program("shopping_sdks", *arguments)) as crowd:
                    rows += _rows_of_harm(server, crowd, told.runs) if told.runs else []
                    rows += _rows_of_health(server, crowd, told.healthy) if told.healthy else []
        if told.kills:
            took, wrong = kills(folder, told.kills)
            is_kept = max(took) <= MOST_TAKE_OVER_SECONDS
            what = f"leader killed in a step, {told.kills} times, until another goes on"
            rows.append((what, _seconds(took), _verdict(is_kept, f"≤ {MOST_TAKE_OVER_SECONDS:g} s each")))
            rows.append(("… steps skipped or done twice", str(len(wrong)), _verdict(not wrong, "0")))
    title = f"ramps: {PROCESSES} processes with an SDK, {USERS:,} users"
    show(title, ("what", "median / worst", "limit"), rows, as_json=wants_json())
    for fault in wrong:
        print(f"  {fault}")
    return int(any(limit.startswith("MISSED") for *_, limit in rows))


def _rows_of_harm(server: ServerProcess, crowd: Program, runs: int) -> list[Row]:
    off, acknowledged, failures = zip(*harm(server, crowd, runs), strict=True)
    is_kept = statistics.median(acknowledged) <= MOST_SECONDS
    limit = _verdict(is_kept, f"median ≤ {MOST_SECONDS:g} s")
    return [
        (f"{runs} harmful releases, from the first failure until off", _seconds(list(off)), ""),
        ("… until off, and acknowledged by all processes", _seconds(list(acknowledged)), limit),
        ("… users who failed by then", f"{statistics.median(failures):.0f} / {max(failures)}", ""),
    ]


def _rows_of_health(server: ServerProcess, crowd: Program, number: int) -> list[Row]:
    ended = health(server, crowd, number)
    turned_back, most = len(ended.get("rolled_back", ())), most_turned_back(number)
    rest = ", ".join(f"{len(flags)} {status}" for status, flags in ended.items() if status != "rolled_back")
    return [
        (
            f"{number} healthy releases, of which turned back",
            str(turned_back),
            _verdict(turned_back <= most, f"≤ {most}"),
        ),
        ("… the others", rest, ""),
    ]


if __name__ == "__main__":
    sys.exit(main())
