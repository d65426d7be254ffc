"""What a client answers while long lists come, change, and are late."""

from array import array

import pytest

from fader.counters import UsageCounters
from fader.explain import explain
from fader.holder import FlagHolder
from fader.members import hash_of, packed
from fader.model import Change, Constraint, Flag, MembersDelta, Rule, Segment, Snapshot
from fader.snapshot import FlagSet
from long_lists import members_of, segment_of

VIP = Flag(key="vip-only", enabled=True, rules=(Rule(id="r", segments=("vip",)),))
OTHER = Flag(key="other", enabled=True)


def snapshot(segment: Segment, revision: int = 1, epoch: str = "aaaa") -> Snapshot:
    return Snapshot(
        project="p",
        environment="e",
        epoch=epoch,
        revision=revision,
        flags={"vip-only": VIP, "other": OTHER},
        segments={"vip": segment},
    )


def change(revision: int, segment: Segment | None, *deltas: MembersDelta) -> Change:
    return Change(
        epoch="aaaa",
        since=revision - 1,
        revision=revision,
        segments={"vip": segment},
        members={"a1": deltas} if deltas else {},
    )


def added(since: int, *keys: str) -> MembersDelta:
    return MembersDelta(
        since=since, version=since + 1, added=packed(array("Q", sorted(hash_of(key.encode()) for key in keys)))
    )


class Holding:
    """A holder and what it has published."""

    def __init__(self) -> None:
        self.published: list[FlagSet] = []
        self.holder = FlagHolder(self.published.append, UsageCounters())

    def is_on(self, key: str, flag: str = "vip-only") -> bool:
        return self.published[-1].enabled[flag](key)


@pytest.fixture
def client() -> Holding:
    return Holding()


def test_nobody_is_a_member_until_the_list_has_come(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada", "alan"])))
    assert not client.is_on("ada")
    assert client.is_on("ada", "other")
    assert not client.holder.is_complete
    client.holder.receive_members(members_of(["ada", "alan"]))
    assert client.is_on("ada")
    assert not client.is_on("bob")
    assert client.holder.is_complete


def test_a_small_change_is_applied_with_its_revision(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"])), {"a1": members_of(["ada"])})
    client.holder.receive(change(2, segment_of(["ada", "bob"], 2), added(1, "bob")))
    assert client.is_on("bob")
    assert client.holder.is_complete


def test_several_changes_at_once_are_applied_as_well(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"])), {"a1": members_of(["ada"])})
    client.holder.receive(change(2, segment_of(["ada", "bob", "eve"], 3), added(1, "bob"), added(2, "eve")))
    assert client.is_on("bob")
    assert client.is_on("eve")


def test_until_a_large_change_has_come_members_are_who_they_were(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"])), {"a1": members_of(["ada"])})
    client.holder.receive(change(2, segment_of(["bob"], 2)))
    assert client.holder.revision == 2
    assert client.is_on("ada")
    assert not client.is_on("bob")
    assert not client.holder.is_complete
    client.holder.receive_members(members_of(["bob"], 2))
    assert not client.is_on("ada")
    assert client.is_on("bob")


def test_a_list_that_comes_late_is_a_beginning(client: Holding) -> None:
    """The segment has moved on while it was fetched."""
    client.holder.receive(snapshot(segment_of(["ada", "bob"], 5)))
    client.holder.receive_members(members_of(["ada"], 4))
    assert client.is_on("ada")
    assert not client.holder.is_complete
    assert client.holder.members["a1"].described.version == 4


def test_a_list_that_nobody_asks_for_is_not_kept(client: Holding) -> None:
    client.holder.receive(snapshot(Segment(key="vip")))
    client.holder.receive_members(members_of(["ada"]))
    assert client.holder.members == {}
    client.holder.receive(change(2, segment_of(["ada"])))
    client.holder.receive_members(members_of(["ada"]))
    assert client.is_on("ada")
    client.holder.receive(change(3, None))
    assert client.holder.members == {}
    assert not client.is_on("ada")


def test_a_restored_database_is_followed(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"], 3), revision=9), {"a1": members_of(["ada"], 3)})
    client.holder.receive(snapshot(segment_of(["bob"], 3), revision=2, epoch="bbbb"))
    assert not client.holder.is_complete
    client.holder.receive_members(members_of(["bob"], 3))
    assert client.is_on("bob")
    assert not client.is_on("ada")


def test_listeners_hear_of_a_list_and_only_of_flags_that_ask_for_it(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"])))
    heard: list[frozenset[str]] = []
    client.holder.listen(heard.append)
    client.holder.receive_members(members_of(["ada"]))
    assert heard == [{"vip-only"}]


def test_other_flags_keep_what_was_made_of_them(client: Holding) -> None:
    client.holder.receive(snapshot(segment_of(["ada"])))
    before = client.published[-1].enabled["other"]
    client.holder.receive_members(members_of(["ada"]))
    assert client.published[-1].compiled("other") is not None
    client.published[-1].decide("other", "ada")
    written = client.published[-1]
    client.holder.receive(change(2, segment_of(["ada", "bob"], 2), added(1, "bob")))
    assert client.published[-1].compiled("other") is written.compiled("other")
    assert before("ada")


@pytest.mark.parametrize(
    ("key", "plan", "held", "why"),
    [
        ("ada", "free", True, "the targeting key is listed"),
        ("bob", "pro", True, "all its constraints hold"),
        ("bob", "free", False, "its constraint on plan does not hold"),
    ],
)
def test_an_explanation_knows_long_lists(key: str, plan: str, held: bool, why: str) -> None:
    from msgspec.structs import replace

    from fader import Context

    pro = Constraint(attribute="plan", operator="in", values=("pro",))
    segment = replace(segment_of(["ada"]), constraints=(pro,))
    flags = FlagSet(snapshot(segment), members={"a1": members_of(["ada"])})
    [rule] = explain(flags, "vip-only", Context(key, plan=plan)).rules
    assert (rule.segments[0].held, rule.segments[0].why) == (held, why)
