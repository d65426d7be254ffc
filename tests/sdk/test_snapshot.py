"""Sets of flags: never changed, swapped whole, and compiled no more often than needed."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from fader.counters import UsageCounters
from fader.model import Change, Constraint, Flag, Prerequisite, Rollout, Rule, Segment, Snapshot
from fader.snapshot import FlagSet
from fader.testing import InMemoryClient

STAFF = Segment(key="staff", targeting_keys=("user-1",))
FLAGS = (
    Flag(key="plain", enabled=True),
    Flag(key="child", enabled=True, prerequisites=(Prerequisite(flag="plain"),)),
    Flag(key="grandchild", enabled=True, prerequisites=(Prerequisite(flag="child"),)),
    Flag(key="for-staff", enabled=True, rules=(Rule(segments=("staff",)),)),
    Flag(key="for-friends", enabled=True, rules=(Rule(segments=("friends",)),)),
    Flag(key="apart", enabled=True, rules=(Rule(rollout=Rollout(percentage=50)),)),
)
KEYS = [flag.key for flag in FLAGS]


@pytest.fixture
def flags() -> FlagSet:
    """Flags that have all been asked for."""
    snapshot = Snapshot(
        project="default",
        environment="production",
        epoch="0",
        revision=1,
        flags={flag.key: flag for flag in FLAGS},
        segments={"staff": STAFF},
    )
    return asked(FlagSet(snapshot))


def asked(flags: FlagSet) -> FlagSet:
    for key in flags.snapshot.flags:
        flags.enabled[key]("user-1")
        flags.details(key, "user-1", None)
    return flags


def answers(flags: FlagSet) -> dict[str, bool]:
    return {key: flags.enabled[key]("user-1") for key in flags.snapshot.flags}


def change(**things: Any) -> Change:
    return Change(epoch="0", since=1, revision=2, **things)


def kept(before: FlagSet, after: FlagSet) -> set[str]:
    """The flags that were not compiled again."""
    return {key for key in after.snapshot.flags if after.compiled(key) is before.compiled(key)}


def test_a_change_makes_a_new_set_and_leaves_the_old_one(flags: FlagSet) -> None:
    before, snapshot = answers(flags), flags.snapshot
    after = flags.apply_change(
        change(
            flags={"plain": Flag(key="plain"), "apart": None, "new": Flag(key="new", enabled=True)},
            segments={"staff": None, "friends": Segment(key="friends", targeting_keys=("user-1",))},
        )
    )

    assert answers(after) == {
        "plain": False,
        "child": False,
        "grandchild": False,
        "for-staff": False,
        "for-friends": True,
        "new": True,
    }
    assert (after.snapshot.revision, after.snapshot.environment) == (2, "production")
    assert flags.snapshot is snapshot
    assert snapshot.revision == 1
    assert answers(flags) == before
    with pytest.raises(KeyError):
        after.enabled["apart"]


@pytest.mark.parametrize(
    ("news", "anew"),
    [
        (change(flags={"apart": Flag(key="apart")}), {"apart"}),
        (change(flags={"plain": Flag(key="plain")}), {"plain", "child", "grandchild"}),
        (change(flags={"child": Flag(key="child")}), {"child", "grandchild"}),
        (change(segments={"staff": Segment(key="staff")}), {"for-staff"}),
        (change(segments={"friends": STAFF}), {"for-friends"}),
        (change(segments={"unused": Segment(key="unused")}), set()),
        (change(flags={"apart": FLAGS[-1]}), set()),
    ],
)
def test_only_flags_that_a_change_affects_are_compiled_again(flags: FlagSet, news: Change, anew: set[str]) -> None:
    assert kept(flags, flags.apply_change(news)) == set(KEYS) - anew


def test_what_is_affected_may_be_known_already(flags: FlagSet) -> None:
    news = change(flags={"apart": Flag(key="apart")})

    assert kept(flags, flags.apply_change(news, frozenset({"apart", "plain"}))) == set(KEYS) - {"apart", "plain"}


def test_prerequisites_and_segments_that_appear_are_found(flags: FlagSet) -> None:
    orphan = flags.apply_change(change(flags={"plain": None}))
    assert not orphan.enabled["grandchild"]("user-1")

    adopted = orphan.apply_change(Change(epoch="0", since=2, revision=3, flags={"plain": FLAGS[0]}))
    assert adopted.enabled["grandchild"]("user-1")


def test_a_series_of_changes_comes_to_the_same_as_the_snapshot_at_its_end(flags: FlagSet) -> None:
    for revision in range(2, 40):
        flag = FLAGS[revision % len(FLAGS)]
        news = None if revision % 3 == 0 else msgspec.structs.replace(flag, enabled=revision % 2 == 0)
        segment = None if revision % 5 == 0 else Segment(key="staff", targeting_keys=(f"user-{revision % 4}",))
        flags = flags.apply_change(
            Change(
                epoch="0",
                since=revision - 1,
                revision=revision,
                flags={flag.key: news},
                segments={"staff": segment} if revision % 2 else {},
            )
        )
        assert answers(flags) == answers(FlagSet(flags.snapshot))


def test_counters_outlive_a_change(flags: FlagSet) -> None:
    after = flags.apply_change(change(flags={"plain": msgspec.structs.replace(FLAGS[0], rules=(Rule(id="new"),))}))
    before = after.counters.flags()["plain"]["on"]
    after.enabled["plain"]("user-1")
    flags.enabled["plain"]("user-1")  # a thread may still be at it

    assert after.counters is flags.counters
    assert after.counters.flags()["plain"]["on"] == before + 2


def test_sets_may_share_counters() -> None:
    counters = UsageCounters()
    snapshot = Snapshot(project="p", environment="e", epoch="0", revision=1, flags={"plain": FLAGS[0]})
    for _ in range(2):
        FlagSet(snapshot, counters=counters).enabled["plain"]("user-1")

    assert counters.flags() == {"plain": {"on": 2}}


def test_flags_are_compiled_when_they_are_first_asked_for() -> None:
    snapshot = Snapshot(
        project="p", environment="e", epoch="0", revision=1, flags={f"f{n}": Flag(key=f"f{n}") for n in range(5_000)}
    )
    gc.collect()
    tracemalloc.start()
    flags = FlagSet(snapshot)
    made = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert made < 10_000
    assert not flags.enabled["f4711"]("user-1")


def test_a_large_segment_is_in_memory_once_however_many_flags_ask_for_it() -> None:
    crowd = Segment(key="crowd", targeting_keys=tuple(f"user-{number}" for number in range(50_000)))
    asking = {f"f{n}": Flag(key=f"f{n}", enabled=True, rules=(Rule(segments=("crowd",)),)) for n in range(20)}
    snapshot = Snapshot(
        project="p", environment="e", epoch="0", revision=1, flags=asking, segments={"crowd": crowd, "staff": STAFF}
    )
    flags = FlagSet(snapshot)
    flags.enabled["f0"]("user-1")
    tracemalloc.start()
    for key in asking:
        assert flags.enabled[key]("user-49999")
    after = flags.apply_change(change(segments={"staff": None}, flags={"f0": FLAGS[0]}))
    assert after.enabled["f1"]("user-49999")
    more = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert more < 500_000  # another copy of the keys' set would be two million bytes


def test_threads_may_ask_for_a_flag_first_at_the_same_time() -> None:
    constraint = Constraint(attribute="targeting_key", operator="ends_with", values=("7",))
    chain = {"f0": Flag(key="f0", enabled=True, rules=(Rule(constraints=(constraint,)),))}
    for number in range(1, 100):
        parent = Prerequisite(flag=f"f{number - 1}")
        chain[f"f{number}"] = Flag(key=f"f{number}", enabled=True, prerequisites=(parent,))
    flags = FlagSet(Snapshot(project="p", environment="e", epoch="0", revision=1, flags=chain))

    def ask(number: int) -> bool:
        return flags.enabled[f"f{number % 100}"]("user-7")

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(2_000)))


HALF = Flag(key="half", enabled=True, rules=(Rule(rollout=Rollout(percentage=50)),))


@pytest.mark.parametrize("default", [False, True])
def test_a_client_gives_the_default_for_a_user_id_that_cannot_be_hashed(default: bool) -> None:
    client = InMemoryClient({"half": HALF})

    assert client.is_enabled("half", "\ud800", default) is default
    details = client.evaluate("half", "\ud800", default)
    assert (details.value, details.reason) == (default, "ERROR")
