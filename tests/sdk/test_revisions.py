"""The rules that keep a client from going back, and from missing anything."""

import pytest

from fader.model import Change, Constraint, Flag, Prerequisite, Rule, Segment, Snapshot
from fader.revisions import Verdict, affected_flags, judge_change, judge_snapshot, version_of


def snapshot(revision: int, epoch: str = "aaaa1111", *flags: Flag, segments: tuple[Segment, ...] = ()) -> Snapshot:
    return Snapshot(
        project="default",
        environment="production",
        epoch=epoch,
        revision=revision,
        flags={flag.key: flag for flag in flags},
        segments={segment.key: segment for segment in segments},
    )


@pytest.mark.parametrize(
    ("held", "sent", "verdict"),
    [
        (None, snapshot(1), Verdict.APPLY),
        (snapshot(5), snapshot(6), Verdict.APPLY),
        (snapshot(5), snapshot(5), Verdict.IGNORE),
        (snapshot(5), snapshot(4), Verdict.IGNORE),
        (snapshot(5), snapshot(9, "bbbb2222"), Verdict.APPLY),
        (snapshot(5), snapshot(1, "bbbb2222"), Verdict.APPLY),
    ],
)
def test_snapshots(held: Snapshot | None, sent: Snapshot, verdict: Verdict) -> None:
    assert judge_snapshot(held, sent) is verdict


@pytest.mark.parametrize(
    ("held", "since", "revision", "epoch", "verdict"),
    [
        (snapshot(5), 5, 6, "aaaa1111", Verdict.APPLY),
        (snapshot(5), 5, 9, "aaaa1111", Verdict.APPLY),
        (snapshot(5), 2, 6, "aaaa1111", Verdict.APPLY),
        (snapshot(5), 4, 5, "aaaa1111", Verdict.IGNORE),
        (snapshot(5), 3, 4, "aaaa1111", Verdict.IGNORE),
        (snapshot(5), 6, 7, "aaaa1111", Verdict.ASK_AFRESH),
        (snapshot(5), 5, 6, "bbbb2222", Verdict.ASK_AFRESH),
        (snapshot(5), 1, 2, "bbbb2222", Verdict.ASK_AFRESH),
        (None, 0, 1, "aaaa1111", Verdict.ASK_AFRESH),
    ],
)
def test_changes(held: Snapshot | None, since: int, revision: int, epoch: str, verdict: Verdict) -> None:
    assert judge_change(held, Change(epoch=epoch, since=since, revision=revision)) is verdict


def test_the_version_is_epoch_and_revision() -> None:
    assert version_of(snapshot(12)) == "aaaa1111-12"


def test_everything_is_affected_by_the_first_snapshot() -> None:
    assert affected_flags(None, snapshot(1, "aaaa1111", Flag(key="a"), Flag(key="b"))) == {"a", "b"}


def test_flags_that_changed_came_or_went_are_affected_and_no_others() -> None:
    before = snapshot(1, "aaaa1111", Flag(key="same"), Flag(key="changed"), Flag(key="gone"))
    after = snapshot(2, "aaaa1111", Flag(key="same"), Flag(key="changed", enabled=True), Flag(key="new"))
    assert affected_flags(before, after) == {"changed", "gone", "new"}


def test_a_changed_segment_affects_the_flags_that_ask_for_it() -> None:
    asks = Flag(key="asks", rules=(Rule(segments=("beta",)),))
    other = Flag(
        key="other",
        rules=(Rule(segments=("gamma",)), Rule(constraints=(Constraint(attribute="plan", operator="exists"),))),
    )
    before = snapshot(1, "aaaa1111", asks, other, segments=(Segment(key="beta"), Segment(key="gamma")))
    after = snapshot(
        2, "aaaa1111", asks, other, segments=(Segment(key="beta", targeting_keys=("user-1",)), Segment(key="gamma"))
    )
    assert affected_flags(before, after) == {"asks"}


def test_a_change_affects_all_that_depend_on_it_at_any_distance_and_cycles_do_no_harm() -> None:
    def needing(key: str, needed: str) -> Flag:
        return Flag(key=key, prerequisites=(Prerequisite(flag=needed),))

    others = (needing("b", "a"), needing("c", "b"), needing("d", "x"), needing("e", "f"), needing("f", "e"))
    before = snapshot(1, "aaaa1111", Flag(key="a"), *others)
    after = snapshot(2, "aaaa1111", Flag(key="a", enabled=True), *others)
    assert affected_flags(before, after) == {"a", "b", "c"}
