"""The parts of distribution that need no server: versions, merged changes, and one stream's queue."""

import asyncio

import pytest

from fader.model import Change, Flag, Segment
from fader_server.distribution import Subscription
from fader_server.distribution.events import Version, change_event, goodbye_event, merged
from fader_server.distribution.subscription import MOST_UNREAD, Ending


@pytest.mark.parametrize(
    "text", ["", "-1", "a-", "a-1-2", "a 1", "A-1", "a--1", "a-1\n", "a-" + "9" * 19, "x" * 65 + "-1"]
)
def test_what_is_no_version_is_none(text: str) -> None:
    assert Version.parse(text) is None


def test_a_version_reads_back() -> None:
    version = Version("77da93b1262aaede", 4182)
    assert Version.parse(str(version)) == version


def change(revision: int, **named: Flag | None) -> Change:
    return Change(
        epoch="e", since=revision - 1, revision=revision, flags=named, segments={f"s{revision}": Segment(key="s")}
    )


def test_merged_changes_keep_the_last_word_on_each_thing() -> None:
    on, off = Flag(key="a", enabled=True), Flag(key="a")
    found = merged([change(5, a=on, b=on), change(6, a=off), change(7, b=None)])
    assert (found.since, found.revision) == (4, 7)
    assert found.flags == {"a": off, "b": None}
    assert set(found.segments) == {"s5", "s6", "s7"}


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match="nothing"):
        merged([])


def test_events_are_one_line_of_data_each() -> None:
    event = change_event(change(5, a=Flag(key="a\nb")))
    assert event.startswith(b"id: e-5\nevent: change\ndata: {")
    assert event.count(b"\n") == 4
    assert event.endswith(b"}\n\n")
    assert goodbye_event(1500) == b"event: goodbye\nretry: 1500\ndata: {}\n\n"


def test_a_stream_gets_everything_in_order_and_then_its_end() -> None:
    async def run() -> list[bytes | None]:
        subscription = Subscription("key", b"1")
        subscription.put(b"2")
        found = [await subscription.read()]
        waiting = asyncio.create_task(subscription.read())
        await asyncio.sleep(0)
        subscription.put(b"3")
        found.append(await waiting)
        subscription.put(b"4")
        subscription.end(Ending.GOODBYE)
        subscription.put(b"too late")
        return [*found, await subscription.read(), await subscription.read()]

    assert asyncio.run(run()) == [b"12", b"3", b"4", None]


def test_a_reader_that_falls_too_far_behind_is_let_go_without_its_backlog() -> None:
    async def run() -> tuple[bytes | None, Ending | None]:
        subscription = Subscription("key", b"")
        for _ in range(MOST_UNREAD):
            subscription.put(b"x" * 100)
        return await subscription.read(), subscription.ending

    assert asyncio.run(run()) == (None, Ending.TOO_SLOW)
