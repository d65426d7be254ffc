"""Fetching long lists: a part at a time, from any server that behaves or does not."""

from array import array
from collections.abc import Mapping

import pytest

from fader.config import Timing
from fader.fetching import MemberFetcher
from fader.members import Members, packed
from fader.model import MemberList
from fader.status import Journal
from fader.transport import Answer
from long_lists import described, members_of

KEYS = [f"user-{number}" for number in range(100_000)]


class Place:
    """Where lists are wanted."""

    def __init__(self, wanted: MemberList, held: Members | None = None) -> None:
        self.members: dict[str, Members] = {} if held is None else {"a1": held}
        self.missing_lists: dict[str, MemberList] = {"vip": wanted}

    def receive_members(self, members: Members) -> None:
        self.members["a1"] = members
        if members.described == self.missing_lists["vip"]:
            self.missing_lists = {}


class Server:
    """Has one list, and perhaps the way to it. ``troubles`` are answered first."""

    def __init__(self, members: Members, way: bytes | None = None) -> None:
        self.members = members
        self.way = way
        self.troubles: list[Answer | Exception] = []
        self.asked: list[tuple[dict[str, str], int, int]] = []

    def __call__(self, segment: str, which: Mapping[str, str], first: int, last: int, within: float) -> Answer:
        assert segment == "vip"
        assert within == Timing().members_part
        self.asked.append((dict(which), first, last))
        if self.troubles:
            trouble = self.troubles.pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        content, kind = packed(self.members.hashes), "list"
        if self.way is not None and "since" in which:
            content, kind = self.way, "delta"
        part = content[first : last + 1]
        headers = {"ETag": f'"{which["version"]}-{kind}"', "Fader-Members": kind}
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return Answer(206, headers, part)


def fetch(place: Place, server: Server, most: int = 100) -> int:
    """Let the chore run, as the thread does, but without waiting; returns how often it ran."""
    fetcher = MemberFetcher(place, server, Timing(), Journal("a server"))
    now = 0.0
    for times in range(most):
        if not place.missing_lists:
            return times
        before = len(server.asked)
        now += fetcher.run_if_due(now + 1e9)
        assert len(server.asked) <= before + 1, "the stream is looked after between two parts"
    return most


def test_a_list_comes_in_parts() -> None:
    wanted = members_of(KEYS)
    place, server = Place(wanted.described), Server(wanted)
    assert fetch(place, server) == 4
    assert [(first, last) for _, first, last in server.asked] == [
        (start, start + 262_143) for start in range(0, 800_000, 262_144)
    ]
    assert place.members["a1"].hashes == wanted.hashes


def test_what_is_held_is_only_brought_up_to_date() -> None:
    wanted = members_of([*KEYS[1:], "ada"], 2)
    way = packed(array("Q", [1, *members_of(["ada"]).hashes, *members_of([KEYS[0]]).hashes]))
    place, server = Place(wanted.described, members_of(KEYS)), Server(wanted, way)
    assert fetch(place, server) == 1
    assert server.asked[0][0]["since"] == "1"
    assert place.members["a1"].hashes == wanted.hashes


def test_where_that_leads_elsewhere_all_of_it_is_fetched() -> None:
    """A restored database has given the version that is held to another list."""
    wanted = members_of(["ada", "grace"], 2)
    way = packed(array("Q", [1, *members_of(["grace"]).hashes]))
    place, server = Place(wanted.described, members_of(["bob"])), Server(wanted, way)
    fetch(place, server)
    assert place.members["a1"].hashes == wanted.hashes
    assert ["since" in which for which, _, _ in server.asked] == [True, False]


@pytest.mark.parametrize(
    "trouble",
    [
        TimeoutError(),
        ConnectionResetError(),
        Answer(503, {"Retry-After": "1"}, b""),
        Answer(429, {"Retry-After": "1"}, b""),
        Answer(404, {}, b""),
        Answer(500, {}, b""),
        Answer(206, {"ETag": '"1-list"'}, b"12345678"),
        Answer(206, {"ETag": '"other"', "Content-Range": "bytes 262144-262151/800000"}, b"12345678"),
        Answer(206, {"ETag": '"1-list"', "Content-Range": "bytes 262144-262151/800000"}, b"12345678"),
        Answer(206, {"ETag": '"1-list"', "Content-Range": "bytes 262144-262150/800000"}, b"1234567"),
        Answer(200, {"ETag": '"1-list"'}, b"all of another one"),
    ],
    ids=lambda trouble: (
        type(trouble).__name__ if isinstance(trouble, Exception) else f"{trouble.status}-{trouble.body[:9]!r}"
    ),
)
def test_trouble_in_the_middle_does_not_keep_it_away(trouble: Answer | Exception) -> None:
    wanted = members_of(KEYS)
    place, server = Place(wanted.described), Server(wanted)
    fetch(place, server, most=1)
    server = Server(wanted)
    fetcher = MemberFetcher(place, server, Timing(), Journal("a server"))
    assert fetcher.run_if_due(1e9) == 0.0
    server.troubles = [trouble]
    for _ in range(100):
        fetcher.run_if_due(2e9)
    assert place.members["a1"].hashes == wanted.hashes


def test_who_is_asked_to_wait_does_and_keeps_what_has_come() -> None:
    wanted = members_of(KEYS)
    place, server = Place(wanted.described), Server(wanted)
    fetcher = MemberFetcher(place, server, Timing(), Journal("a server"))
    import time

    now = time.monotonic()
    fetcher.run_if_due(now)
    server.troubles = [Answer(503, {"Retry-After": "7"}, b"")]
    fetcher.run_if_due(time.monotonic())
    assert 6.5 < fetcher.run_if_due(time.monotonic()) < 9
    fetcher.run_if_due(time.monotonic() + 10)
    assert [first for _, first, _ in server.asked] == [0, 262_144, 262_144]


def test_on_a_slow_line_parts_become_smaller() -> None:
    wanted = members_of(KEYS)
    place, server = Place(wanted.described), Server(wanted)
    server.troubles = [TimeoutError(), TimeoutError()]
    fetch(place, server)
    assert [last - first + 1 for _, first, last in server.asked[:3]] == [262_144, 131_072, 65_536]
    assert not place.missing_lists


def test_nothing_is_asked_for_where_nothing_is_missing() -> None:
    wanted = members_of(["ada"])
    place, server = Place(wanted.described), Server(wanted)
    place.missing_lists = {}
    fetcher = MemberFetcher(place, server, Timing(), Journal("a server"))
    assert fetcher.run_if_due(0.0) > 1
    assert server.asked == []


def test_a_list_that_cannot_be_had_does_not_keep_others_waiting() -> None:
    wanted = members_of(["ada"])
    place, server = Place(wanted.described), Server(wanted)
    place.missing_lists = {"gone": described(["x"], name="b2"), "vip": wanted.described}
    asked: list[str] = []

    def ask(segment: str, which: Mapping[str, str], first: int, last: int, within: float) -> Answer:
        asked.append(segment)
        return Answer(404, {}, b"") if segment == "gone" else server(segment, which, first, last, within)

    fetcher = MemberFetcher(place, ask, Timing(), Journal("a server"))
    for _ in range(4):
        fetcher.run_if_due(0.0)
    assert asked[:2] == ["gone", "vip"]
    assert not place.missing_lists
