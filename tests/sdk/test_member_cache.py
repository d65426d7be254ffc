"""Long lists on disk: written once, found again, never believed when damaged."""

import time
from pathlib import Path

import pytest

from fader.config import Timing
from fader.member_cache import MemberCache, MemberCacheWriter
from fader.members import Members
from fader.model import MemberList, Snapshot
from fader.status import Journal
from long_lists import members_of, segment_of

KEYS = [f"user-{number}" for number in range(3_000)]


def snapshot(version: int = 1) -> Snapshot:
    return Snapshot(project="p", environment="e", epoch="a", revision=1, segments={"vip": segment_of(KEYS, version)})


@pytest.fixture
def cache(tmp_path: Path) -> MemberCache:
    return MemberCache(tmp_path / "fader" / "0123.snapshot")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "fader").glob("*"))


class Holder:
    def __init__(self, **members: Members) -> None:
        self.members = dict(members)
        self.missing_lists: dict[str, MemberList] = {}

    def receive_members(self, members: Members) -> None:
        raise AssertionError


def test_a_list_is_found_again_by_the_next_process(cache: MemberCache, tmp_path: Path) -> None:
    cache.store(members_of(KEYS))
    found, faults = MemberCache(tmp_path / "fader" / "0123.snapshot").load(snapshot())
    assert (found["a1"].hashes, found["a1"].described) == (members_of(KEYS).hashes, members_of(KEYS).described)
    assert faults == []
    assert [path.stat().st_size < 8 * len(KEYS) + 256 for path in files(tmp_path)] == [True]


def test_one_of_an_earlier_version_is_a_beginning(cache: MemberCache) -> None:
    cache.store(members_of(KEYS[:-1]))
    found, _ = cache.load(snapshot(2))
    assert found["a1"].described.version == 1


def test_without_a_copy_there_is_none(cache: MemberCache) -> None:
    assert cache.load(snapshot()) == ({}, [])


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-8], lambda content: content[:-1] + b"\0", lambda content: b"x" + content, lambda _: b""],
    ids=["cut short", "one byte", "another format", "empty"],
)
def test_a_damaged_one_is_left_alone(cache: MemberCache, tmp_path: Path, damage: object) -> None:
    cache.store(members_of([*KEYS, "last"]))
    [path] = files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    found, faults = cache.load(snapshot())
    assert found == {}
    assert len(faults) == 1


def test_what_another_process_has_written_is_not_written_again(cache: MemberCache, tmp_path: Path) -> None:
    cache.store(members_of(KEYS))
    [path] = files(tmp_path)
    before = path.stat().st_ino
    cache.store(members_of(KEYS))
    assert path.stat().st_ino == before
    cache.store(members_of(KEYS, 2))
    assert path.stat().st_ino != before


def test_a_list_is_written_at_once_and_then_only_now_and_then(cache: MemberCache, tmp_path: Path) -> None:
    holder = Holder(a1=members_of(KEYS))
    writer = MemberCacheWriter(cache, Holder(), Timing(), Journal("a server"))
    writer._holder = holder
    now = time.monotonic()
    writer.run_if_due(now)
    holder.members["a1"] = members_of(KEYS, 2)
    assert writer.run_if_due(now + 1) > 10
    assert cache.load(snapshot())[0]["a1"].described.version == 1
    writer.run_if_due(now + 700)
    assert cache.load(snapshot())[0]["a1"].described.version == 2
    assert len(files(tmp_path)) == 1


def test_what_nobody_names_any_longer_is_removed(cache: MemberCache, tmp_path: Path) -> None:
    holder = Holder(a1=members_of(KEYS), b2=members_of(KEYS, name="b2"))
    (tmp_path / "fader").mkdir()
    writer = MemberCacheWriter(cache, holder, Timing(), Journal("a server"))
    for members in holder.members.values():
        cache.store(members)
    del holder.members["b2"]
    writer.run_if_due(time.monotonic())
    assert [path.name for path in files(tmp_path)] == ["0123.a1.members"]
