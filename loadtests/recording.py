"""What recording and dark launches cost the application's thread, and memory: ``python -m loadtests.recording``.

Each figure is the least that was seen in short runs, again and again: whatever else the machine does only ever adds.
"""

import gc
import statistics
import sys
import threading
import time
import timeit
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

from fader import Context
from fader.model import Constraint, Flag, Guard, Rollout, Rule, Snapshot
from fader.recording import OutcomeReports
from fader.sketches import Sketch
from fader.testing import InMemoryClient
from loadtests.tables import show, wants_json

USERS: Final = 1_000
ROUNDS: Final = 300

FLOOR: Final = 'mmh3.hash(f"{salt}:{user}", 0, False) % 100 < 10'
CALLS: Final = (
    ("bare hash (the floor)", FLOOR, None),
    ("record, nobody watches", 'flags.record("another", user)', 150),
    ("record", 'flags.record("checkout", user)', 2_000),
    ("record a failure with a value", 'flags.record("checkout", user, failed=True, value=3.5)', 2_000),
    ("record, two rules with constraints before", 'flags.record("search", context)', None),
    ("measure, nobody watches", 'with flags.measure("another", user): pass', None),
    ("measure", 'with flags.measure("checkout", user): pass', None),
)
"""Name, call, and the most nanoseconds that it may take."""


def example() -> Snapshot:
    """Two ramps, each with a guard."""
    staff = Constraint(attribute="email", operator="ends_with", values=("@example.com",))
    german = Constraint(attribute="country", operator="in", values=("DE", "AT"))
    ten = Rollout(percentage=10)
    return Snapshot(
        project="default",
        environment="production",
        epoch="recording",
        revision=1,
        flags={
            "new-checkout": Flag(key="new-checkout", enabled=True, rules=(Rule(id="ramp", rollout=ten),)),
            "new-search": Flag(
                key="new-search",
                enabled=True,
                rules=(
                    Rule(id="staff", constraints=(staff,)),
                    Rule(id="ramp", constraints=(german,), rollout=ten),
                ),
            ),
        },
        guards={
            "new-checkout": (Guard(id="a.1.errors", metric="checkout", hash_key="00" * 16, rule="ramp"),),
            "new-search": (Guard(id="b.1.errors", metric="search", hash_key="11" * 16, rule="ramp"),),
        },
    )


def client_with(snapshot: Snapshot) -> InMemoryClient:
    """A client with these flags and guards."""
    client = InMemoryClient()
    client._runtime.holder.receive(snapshot)  # noqa: SLF001 (guards come from servers only)
    return client


def measure_calls() -> list[tuple[str, float, float, str]]:
    """Each call: nanoseconds, multiples of the floor, and whether that is within its limit."""
    import mmh3

    users = [(f"user-{n}", Context(f"user-{n}", country="DE", email="ada@mail.test")) for n in range(USERS)]
    names = {"mmh3": mmh3, "salt": "new-checkout", "users": users, "flags": client_with(example())}
    loops = [_loop(call, names) for _, call, _ in CALLS]
    best = [float("inf")] * len(CALLS)
    gc.disable()
    for _ in range(ROUNDS):
        for number, loop in enumerate(loops):
            best[number] = min(best[number], timeit.timeit(loop, number=1) / USERS * 1e9)
    gc.enable()
    return [
        (name, nanoseconds, nanoseconds / best[0], _verdict(nanoseconds, limit))
        for (name, _, limit), nanoseconds in zip(CALLS, best, strict=True)
    ]


def _loop(call: str, names: dict[str, Any], each: str = "user, context") -> Callable[[], None]:
    space = dict(names)
    exec(f"def run():\n for {each} in users:\n  {call}\n", space)
    made: Callable[[], None] = space["run"]
    return made


def _verdict(figure: float, limit: float | None) -> str:
    return "" if limit is None else f"≤ {limit:g}" if figure <= limit else f"MORE THAN {limit:g}"


DARK_CALLS: Final = (
    ("the old function alone (the floor)", "old(number)", None),
    (
        "dark_launch, the flag keeps out",
        'flags.dark_launch("off", user, control=lambda: old(number), candidate=lambda: old(number))',
        1.25,
    ),
    (
        "dark_launch, not in the sample",
        'flags.dark_launch("on", user, control=lambda: old(number), candidate=lambda: old(number), sample=0)',
        1.25,
    ),
    (
        "dark_launch, a candidate that waits elsewhere",
        'flags.dark_launch("on", user, control=lambda: old(number), candidate=lambda: sleep(0.001))',
        1.5,
    ),
    (
        "dark_launch, a candidate that computes as much",
        'flags.dark_launch("on", user, control=lambda: old(number), candidate=lambda: old(number))',
        None,
    ),
)
"""Name, call, and the most multiples of the old function's time that it may take on the caller's thread. A candidate
that computes takes turns with the caller at the interpreter's lock, so the last one depends on the interpreter."""
BURST: Final = 50
"""Calls, fewer than may wait."""
BURSTS: Final = 40


def measure_dark_launches() -> list[tuple[str, float, float, float, str]]:
    """Each call: microseconds, multiples of the old function's time, the same of the medians, and whether the former
    is within its limit."""
    client = InMemoryClient({"on": True, "off": False})
    names = {"users": [(f"user-{n}", n) for n in range(BURST)], "flags": client, "old": _old, "sleep": time.sleep}
    loops = [_loop(call, names, "user, number") for _, call, _ in DARK_CALLS]
    times: list[list[float]] = [[] for _ in loops]
    for _ in range(BURSTS):  # in turns, so that what else the machine does befalls all of them
        for loop, taken in zip(loops, times, strict=True):
            taken.append(timeit.timeit(loop, number=1) / BURST * 1e6)
            _wait_for_candidates(client)
    best, usual = [min(taken) for taken in times], [statistics.median(taken) for taken in times]
    return [
        (name, least, least / best[0], median / usual[0], _verdict(least / best[0], limit))
        for (name, _, limit), least, median in zip(DARK_CALLS, best, usual, strict=True)
    ]


def _old(number: int) -> int:
    """As much as rendering a small page takes."""
    return sum(each * number % 7 for each in range(2_000))


def _wait_for_candidates(client: InMemoryClient) -> None:
    done = threading.Event()
    client.dark_launch("on", control=lambda: None, candidate=done.set)
    done.wait(1)
    time.sleep(0.005)  # the other threads end theirs


def measure_memory() -> list[tuple[str, float, str]]:
    """What a guard takes at most, and what merging costs a server."""
    watched = client_with(example())
    gc.collect()
    tracemalloc.start()
    reports = OutcomeReports(watched._runtime.recorder, "web-1", "shop")  # noqa: SLF001
    unconfirmed = None
    for _ in range(2):
        for number in range(20_000):
            watched.record("checkout", f"user-{number}", failed=number % 2 == 0, value=1.0)
        unconfirmed = unconfirmed or reports.next_report()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / 1024
    tracemalloc.stop()
    many, others = (Sketch(_hashes(20_000, first)) for first in (0, 10_000))
    form = others.encode()
    return [
        ("memory of a guard, with a report on its way (KB)", size, _verdict(size, 64)),
        ("its report (KB)", len(unconfirmed or b"") / 1024, ""),
        ("a server: decode a sketch of 20,000 and merge it (µs)", _microseconds(lambda: _merge(many, form)), ""),
        ("a server: count (µs)", _microseconds(many.count), ""),
    ]


def _hashes(number: int, first: int) -> list[bytes]:
    import hashlib

    return [hashlib.blake2b(b"%d" % each, digest_size=8).digest() for each in range(first, first + number)]


def _merge(sketch: Sketch, form: bytes) -> None:
    sketch.merge(Sketch.decode(form))


def _microseconds(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=10, repeat=100)) / 10 * 1e6


def main() -> int:
    """Measure and print; 1 if a limit was passed."""
    calls, dark, memory = measure_calls(), measure_dark_launches(), measure_memory()
    show("recording, one thread", ("call", "ns", "of floor", "limit"), calls, as_json=wants_json())
    show(
        "dark launches, the caller's thread", ("call", "µs", "of floor", "medians", "limit"), dark, as_json=wants_json()
    )
    show("sketches", ("what", "figure", "limit"), memory, as_json=wants_json())
    return int(any("MORE" in str(row[-1]) for row in (*calls, *dark, *memory)))


if __name__ == "__main__":
    sys.exit(main())
