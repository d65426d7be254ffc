"""What a call of ``is_enabled`` costs, as a multiple of the bare hash: ``python -m loadtests.evaluation``.

The floor is the line that a percentage needs at least, in the same loop over the same users. Everything is timed in
turn, again and again, and each figure is the least that was seen: whatever else the machine does only ever adds. Calls
go through a real client, with usage counting on.
"""

import gc
import os
import subprocess
import sys
import tempfile
import timeit
import tracemalloc
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fader import Context
from fader.model import Constraint, Flag, Rollout, Rule, Snapshot
from fader.snapshot import FlagSet
from fader.testing import InMemoryClient
from loadtests.tables import show, wants_json

USERS: Final = 1_000
ROUNDS: Final = 60
REPEATS: Final = 10
_BYTE_CODE: Final = tempfile.mkdtemp(prefix="fader-bench-")

FLOOR: Final = 'mmh3.hash(f"{salt}:{uid}", 0, False) % 100 < 10'
EVERYBODY: Final = "ten countries, five of them asked for; half with the version; one e-mail address in ten"
CALLS: Final = (
    ("bare hash (the floor)", FLOOR, None),
    ("flag that is on", 'flags.is_enabled("plain", uid)', 1.5),
    ("10 % rollout", 'flags.is_enabled("rollout", uid)', 2.5),
    ("0.5 % rollout", 'flags.is_enabled("fraction", uid)', 2.5),
    (
        "three rules, context built in the call",
        'flags.is_enabled("rules", Context(uid, country=country, app_version=version, email=email))',
        6.0,
    ),
    ("… the context alone", "Context(uid, country=country, app_version=version, email=email)", None),
    ("flag that is on, one of 5,000", 'many.is_enabled("flag-2500", uid)', 1.5),
    ("value of a string flag", 'flags.value("colour", uid, "blue")', None),
    ("evaluate: value, variant, reason, rule", 'flags.evaluate("colour", uid, "blue")', None),
)
"""Name, call, and the most that it may cost in multiples of the floor."""


def example_flags() -> dict[str, Flag]:
    """The flags that are timed."""
    german = Constraint(attribute="country", operator="in", values=("DE", "AT", "CH", "LI", "LU"))
    recent = Constraint(attribute="app_version", operator="semver_ge", values=("3.2.0",))
    ours = Constraint(attribute="email", operator="ends_with", values=("@example.com",))
    return {
        flag.key: flag
        for flag in (
            Flag(key="plain", enabled=True),
            Flag(key="rollout", enabled=True, rules=(Rule(id="a", rollout=Rollout(percentage=10)),)),
            Flag(key="fraction", enabled=True, rules=(Rule(id="a", rollout=Rollout(percentage=0.5)),)),
            Flag(
                key="rules",
                enabled=True,
                rules=(
                    Rule(id="a", constraints=(german, recent), rollout=Rollout(percentage=50)),
                    Rule(id="b", constraints=(ours,)),
                    Rule(id="c", rollout=Rollout(percentage=5)),
                ),
            ),
            msgspec.convert(
                {
                    "key": "colour",
                    "enabled": True,
                    "type": "string",
                    "variants": [{"name": "red", "value": "red"}, {"name": "blue", "value": "blue"}],
                    "off_variant": "blue",
                    "rules": [{"id": "a", "rollout": {"percentage": 10}}],
                },
                Flag,
            ),
        )
    }


def _many(number: int) -> dict[str, Flag]:
    one = Constraint(attribute="country", operator="in", values=("DE", "AT", "CH"))
    rules = (
        Rule(id="a", constraints=(one,), rollout=Rollout(percentage=50)),
        Rule(id="b", rollout=Rollout(percentage=5)),
    )
    return {f"flag-{n}": Flag(key=f"flag-{n}", enabled=True, rules=rules) for n in range(number)}


def _loop(call: str, names: dict[str, Any]) -> Callable[[], None]:
    source = f"def run():\n for uid, country, version, email in users:\n  {call}\n"
    space = dict(names)
    exec(source, space)
    made: Callable[[], None] = space["run"]
    return made


def measure_calls() -> list[tuple[str, float, float, str]]:
    """Each call: nanoseconds, multiples of the floor, and whether that is within its limit."""
    import mmh3

    countries = ("DE", "US", "AT", "GB", "CH", "FR", "LI", "JP", "LU", "BR")
    users = [
        (
            f"user-{n}",
            countries[n % 10],
            ("3.2.1", "3.1.0")[n // 10 % 2],
            f"{n}@{'example.com' if n % 10 == 7 else 'mail.test'}",
        )
        for n in range(USERS)
    ]
    thousands = {**_many(5_000), "flag-2500": Flag(key="flag-2500", enabled=True)}
    names = {
        "mmh3": mmh3,
        "salt": "new-checkout",
        "users": users,
        "Context": Context,
        "flags": InMemoryClient(example_flags()),
        "many": InMemoryClient(thousands),
    }
    loops = [_loop(call, names) for _, call, _ in CALLS]
    best = [float("inf")] * len(CALLS)
    gc.disable()
    for _ in range(ROUNDS):
        for number, loop in enumerate(loops):
            best[number] = min(best[number], timeit.timeit(loop, number=REPEATS) / REPEATS / USERS * 1e9)
    gc.enable()
    return [
        (name, nanoseconds, nanoseconds / best[0], _verdict(nanoseconds / best[0], limit))
        for (name, _, limit), nanoseconds in zip(CALLS, best, strict=True)
    ]


def _verdict(figure: float, limit: float | None) -> str:
    return "" if limit is None else f"≤ {limit:g}" if figure <= limit else f"MORE THAN {limit:g}"


def measure_loading() -> list[tuple[str, float, str]]:
    """What 2,000 flags of two rules cost to take in, and what importing the SDK does."""
    encoded = msgspec.json.encode(
        Snapshot(project="default", environment="production", epoch="0", revision=1, flags=_many(2_000))
    )

    def load() -> FlagSet:
        return FlagSet(msgspec.json.decode(encoded, type=Snapshot))

    milliseconds = min(timeit.repeat(load, number=1, repeat=30)) * 1000
    tracemalloc.start()
    kept = load()
    size = tracemalloc.get_traced_memory()[0] / 1e6
    tracemalloc.stop()
    began = timeit.default_timer()
    for key in kept.snapshot.flags:
        kept.enabled[key]
    first_use = (timeit.default_timer() - began) / len(kept.snapshot.flags) * 1e6
    bare, package, client = (
        min(_import_milliseconds(statement) for _ in range(15))
        for statement in ("pass", "import fader", "from fader import flags")
    )
    return [
        ("load 2,000 flags of two rules (ms)", milliseconds, _verdict(milliseconds, 40)),
        ("… memory (MB, traced)", size, _verdict(size, 12)),
        ("… first use of a flag (µs)", first_use, ""),
        ("import fader (ms)", package - bare, _verdict(package - bare, 60)),
        ("from fader import flags (ms)", client - bare, _verdict(client - bare, 60)),
    ]


def _import_milliseconds(statement: str) -> float:
    # As users have it: with the byte code that the first import leaves behind.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = timeit.default_timer()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environment | {"PYTHONPYCACHEPREFIX": _BYTE_CODE})
    return (timeit.default_timer() - began) * 1000


def main() -> int:
    """Measure and print; 1 if a limit was passed."""
    calls, loading = measure_calls(), measure_loading()
    show("evaluation, one thread", ("call", "ns", "of floor", "limit"), calls, as_json=wants_json())
    if not wants_json():
        print(f"  users of the three rules: {EVERYBODY}")
    show("loading", ("what", "figure", "limit"), loading, as_json=wants_json())
    return int(any("MORE" in row[-1] for row in (*calls, *loading)))


if __name__ == "__main__":
    sys.exit(main())
