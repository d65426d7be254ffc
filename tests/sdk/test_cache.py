"""The copy on disk: found again, never trusted when damaged, never in the way of others."""

import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fader.cache import CacheError, DiskCache
from fader.model import Flag, Segment, Snapshot

URL, KEY = "https://flags.example.org", "default:production.very-secret"


def snapshot(revision: int = 7, epoch: str = "aaaa1111") -> Snapshot:
    return Snapshot(
        project="default",
        environment="production",
        epoch=epoch,
        revision=revision,
        flags={"new-checkout": Flag(key="new-checkout", enabled=True)},
        segments={"beta": Segment(key="beta", targeting_keys=("user-1", "Jürgen"))},
    )


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "deep" / "fader", URL, KEY)


def test_what_was_stored_is_found_again_by_the_next_process(cache: DiskCache) -> None:
    cache.store(snapshot())
    assert DiskCache(cache.path.parent, URL, KEY).load() == snapshot()


def test_without_a_copy_there_is_none(cache: DiskCache) -> None:
    assert cache.load() is None


def test_other_servers_and_other_keys_have_their_own_copies(cache: DiskCache) -> None:
    cache.store(snapshot())
    assert DiskCache(cache.path.parent, URL, "default:staging.other").load() is None
    assert DiskCache(cache.path.parent, "https://other.example.org", KEY).load() is None


def test_the_key_is_nowhere_on_the_disk(cache: DiskCache) -> None:
    cache.store(snapshot())
    for path in cache.path.parent.rglob("*"):
        assert "secret" not in path.name
        assert b"secret" not in path.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_copy_is_for_its_owner_alone(cache: DiskCache) -> None:
    cache.store(snapshot())
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700


def test_a_later_copy_replaces_an_earlier_one_and_leaves_nothing_else_behind(cache: DiskCache) -> None:
    cache.store(snapshot(7))
    cache.store(snapshot(8))
    assert cache.load() == snapshot(8)
    assert list(cache.path.parent.iterdir()) == [cache.path]


def test_a_process_that_is_behind_does_not_overwrite_what_another_has_stored(cache: DiskCache) -> None:
    cache.store(snapshot(9))
    cache.store(snapshot(8))
    assert cache.load() == snapshot(9)


def test_a_new_epoch_replaces_a_later_revision_of_the_old_one(cache: DiskCache) -> None:
    cache.store(snapshot(9))
    cache.store(snapshot(1, "bbbb2222"))
    assert cache.load() == snapshot(1, "bbbb2222")


def test_a_damaged_copy_of_a_later_revision_is_replaced(cache: DiskCache) -> None:
    cache.store(snapshot(9))
    cache.path.write_bytes(cache.path.read_bytes()[:-1])
    cache.store(snapshot(8))
    assert cache.load() == snapshot(8)


def test_every_damage_is_noticed(cache: DiskCache) -> None:
    cache.store(snapshot())
    good = cache.path.read_bytes()
    damaged = [good[:length] for length in range(len(good))]
    damaged += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(good.index(b"\n") + 1, len(good))]
    damaged += [good + b"x", b"\0" * len(good), b"{}", b"fader-cache-2" + good[13:]]
    for content in damaged:
        cache.path.write_bytes(content)
        with pytest.raises(CacheError):
            cache.load()


def test_the_checksum_of_something_that_is_no_snapshot_does_not_help(cache: DiskCache) -> None:
    cache.path.parent.mkdir(parents=True)
    for body in (b"[]", b'{"revision": "x"}', b"\xff", b"[" * 100_000):
        checksum = hashlib.sha256(body).hexdigest().encode()
        cache.path.write_bytes(b"fader-cache-1 %s aaaa1111 7\n%s" % (checksum, body))
        with pytest.raises(CacheError):
            cache.load()


def test_a_directory_in_the_place_of_the_copy_is_an_error_that_says_so(cache: DiskCache) -> None:
    cache.path.mkdir(parents=True)
    with pytest.raises(CacheError):
        cache.load()
    with pytest.raises(CacheError):
        cache.store(snapshot())


def test_a_file_in_the_place_of_the_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError):
        DiskCache(tmp_path / "file" / "fader", URL, KEY).store(snapshot())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device without room")
def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    # Nothing can be created below a device, and writing to this one fails for want of room.
    with pytest.raises(CacheError):
        DiskCache(Path("/dev/full"), URL, KEY).store(snapshot())


def test_leftovers_of_killed_processes_are_removed_and_those_of_living_ones_are_not(cache: DiskCache) -> None:
    cache.store(snapshot())
    old = cache.path.with_name(f"{cache.path.name}.0011223344556677.tmp")
    new = cache.path.with_name(f"{cache.path.name}.8899aabbccddeeff.tmp")
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    cache.store(snapshot(8))
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
from pathlib import Path
from fader.cache import DiskCache
from fader.model import Flag, Snapshot
cache = DiskCache(Path(sys.argv[1]), "url", "key")
for revision in range(int(sys.argv[2]), 300, 4):
    flags = {f"flag-{n}": Flag(key=f"flag-{n}") for n in range(revision)}
    cache.store(Snapshot(project="p", environment="e", epoch="aaaa1111", revision=revision, flags=flags))
    found = cache.load()
    assert len(found.flags) == found.revision
"""


def test_several_processes_share_one_copy(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    found = DiskCache(tmp_path, "url", "key").load()
    assert found is not None
    assert len(found.flags) == found.revision
    assert len(list(tmp_path.iterdir())) == 1
