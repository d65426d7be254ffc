"""Counting: exact whatever threads do, and bounded whatever applications ask."""

import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from fader.counters import MOST_UNKNOWN, OTHER_UNKNOWN, UsageCounters
from fader.model import Change, Flag, Rollout, Rule, Snapshot, Split, WeightedVariant
from fader.snapshot import FlagSet

THREADS, CALLS = 8, 20_000

with_lock = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="counting is exact under the global interpreter lock"
)


@pytest.fixture(autouse=True)
def _threads_that_switch_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def flag_set() -> FlagSet:
    half = Rule(id="half", rollout=Rollout(percentage=50))
    weights = tuple(WeightedVariant(variant=name, weight=1) for name in ("on", "off"))
    flags = (
        Flag(key="plain", enabled=True),
        Flag(key="half", enabled=True, rules=(half,)),
        Flag(key="split", enabled=True, rules=(Rule(id="split", split=Split(variants=weights)),)),
    )
    return FlagSet(
        Snapshot(project="p", environment="e", epoch="0", revision=1, flags={flag.key: flag for flag in flags})
    )


@with_lock
@pytest.mark.parametrize("key", ["plain", "half", "split"])
def test_threads_lose_no_count(key: str) -> None:
    flags = flag_set()

    def evaluate(thread: int) -> int:
        enabled = flags.enabled[key]
        return sum(enabled(f"user-{thread}-{number}") for number in range(CALLS))

    with ThreadPoolExecutor(THREADS) as threads:
        on = sum(threads.map(evaluate, range(THREADS)))

    expected = {"on": on, "off": THREADS * CALLS - on}
    assert flags.counters.flags()[key] == {variant: count for variant, count in expected.items() if count}


@with_lock
def test_no_count_is_lost_while_flags_change_and_counts_are_read() -> None:
    current = [flag_set()]
    counters = current[0].counters

    def evaluate(_: int) -> None:
        for number in range(CALLS):
            current[0].enabled["half"](f"user-{number}")

    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(evaluate, thread) for thread in range(4)]
        for revision in range(2, 200):
            changed = Flag(key="half", enabled=True, rules=(Rule(id="r", rollout=Rollout(percentage=revision % 100)),))
            change = Change(epoch="0", since=revision - 1, revision=revision, flags={"half": changed})
            current[0] = current[0].apply_change(change)
            counters.flags()
        for each in running:
            each.result()

    assert sum(counters.flags()["half"].values()) == 4 * CALLS


@with_lock
def test_threads_that_ask_first_at_the_same_time_count_in_the_same_counter() -> None:
    counters = UsageCounters()

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(counters.of, repeat("flag", 1_000), repeat("on", 1_000)))

    assert all(counter is found[0] for counter in found)


def test_only_what_was_served_is_told() -> None:
    flags = flag_set()
    flags.enabled["plain"]("user-1")
    flags.details("half", "user-1", None)

    told = flags.counters.flags()
    assert told["plain"] == {"on": 1}
    assert sum(told["half"].values()) == 1
    assert "split" not in told


def test_an_application_that_makes_keys_up_does_not_fill_the_memory() -> None:
    counters = UsageCounters()
    for number in range(MOST_UNKNOWN + 500):
        counters.of_unknown(f"made-up-{number}")[0] += 1

    unknown = counters.unknown()
    assert len(unknown) == MOST_UNKNOWN + 1
    assert unknown[OTHER_UNKNOWN] == 500
    assert sum(unknown.values()) == MOST_UNKNOWN + 500
