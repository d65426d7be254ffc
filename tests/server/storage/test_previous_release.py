"""The previous release on this one's schema, as it runs in the middle of an upgrade, and after one that was called off:
the very program, taken from the history, with writes, streams and reads."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import urllib3

from processes import PATIENCE, ServerProcess, wait_for
from raw_stream import RawStream
from server.storage import previous_release

WRITES = 15


@pytest.fixture(scope="module")
def previous_code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With these variables a server is of the previous release."""
    return previous_release.unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture(params=previous_release.DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variables that lead to an empty database, which is asked for changes often."""
    url = f"sqlite:///{tmp_path}/fader.db" if request.param == "sqlite" else None
    return {
        "DATABASE_URL": url or request.getfixturevalue("postgres").create_database(),
        "FADER_POLL_SECONDS": "0.05",
    }


@pytest.fixture
def previous(tmp_path: Path, database: dict[str, str], previous_code: dict[str, str]) -> Iterator[ServerProcess]:
    """A server of the previous release, not started yet."""
    server = ServerProcess(tmp_path / "previous", database | previous_code)
    yield server
    server.close()


@pytest.fixture
def current(tmp_path: Path, previous: ServerProcess) -> Iterator[ServerProcess]:
    """One of this release on the same database, not started yet."""
    server = previous.sibling(tmp_path / "current", PYTHONPATH="", FADER_MIGRATE="never")
    yield server
    server.close()


def migrate(database: dict[str, str]) -> None:
    """As a deployment does it, with this release's program."""
    subprocess.run(
        [sys.executable, "-m", "fader_server", "migrate"],
        env=os.environ | database, capture_output=True, timeout=PATIENCE, check=True,
    )  # fmt: skip


def is_previous(server: ServerProcess) -> bool:
    """Its successor can be told from it by what it answers."""
    return urllib3.request("GET", f"{server.url}/metrics", retries=False).status == 404


def history(server: ServerProcess) -> dict[int, dict[str, Any]]:
    """The entries of production's log, by revision; none twice."""
    found: dict[int, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = server.admin.ok("GET", f"/projects/default/changes?environment=production&limit=500{cursor}")
        for entry in page["items"]:
            assert entry["revision"] not in found, "a revision is doubled"
            found[entry["revision"]] = entry
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


class Writer:
    """Switches a flag of its own on and off through one server after the other."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.acknowledged: dict[int, bool] = {}

    def write(self, server: ServerProcess) -> None:
        is_on = len(self.acknowledged) % 2 == 0
        written = server.admin.verb(self.key, "on" if is_on else "off")
        assert written["changed"]
        assert written["revision"] not in self.acknowledged
        self.acknowledged[written["revision"]] = is_on

    @contextmanager
    def writing(self, server: ServerProcess) -> Iterator[None]:
        """Without a pause, for the time of the block."""
        is_over = threading.Event()
        begun = len(self.acknowledged)

        def go_on() -> None:
            while not is_over.is_set():
                self.write(server)

        with ThreadPoolExecutor(1) as thread:
            going = thread.submit(go_on)
            wait_for(lambda: len(self.acknowledged) > begun or going.done(), "a write")
            try:
                yield
            finally:
                is_over.set()
            going.result(PATIENCE)


def check(server: ServerProcess, writers: list[Writer]) -> None:
    """One history without gaps, and in it all that was acknowledged, whoever asks for it."""
    entries = history(server)
    top = server.admin.ok("GET", "/projects/default/environments/production")["revision"]
    assert sorted(entries) == list(range(1, top + 1)), "the history has a gap"
    for writer in writers:
        for revision, is_on in writer.acknowledged.items():
            assert (entries[revision]["key"], entries[revision]["after"]["enabled"]) == (writer.key, is_on)


def follow(stream: RawStream, revision: int) -> list[int]:
    """The revisions that a stream brings, up to this one; each begins where the one before it ended."""
    events = stream.follow(revision)
    for (_, before), (name, after) in pairwise(events):
        assert (name, after["since"]) == ("change", before["revision"])
    return [event["revision"] for _, event in events]


@pytest.mark.parametrize("maker", ["previous", "this"])
def test_it_starts_and_works_on_a_database_that_this_release_has_migrated(
    previous: ServerProcess, database: dict[str, str], maker: str
) -> None:
    writer = Writer("a")
    if maker == "previous":
        previous.start()
        previous.admin.create_flag("a")
        writer.write(previous)
        previous.terminate()
    migrate(database)
    previous.start()
    assert is_previous(previous)
    if maker == "this":
        previous.admin.create_flag("a")
    with closing(RawStream(previous)) as stream:
        stream.event()
        for _ in range(3):
            writer.write(previous)
        follow(stream, max(writer.acknowledged))
    assert previous.admin.verb("a", "undo")["changed"]
    key = previous.admin.ok("POST", "/projects/default/keys", {"name": "k", "environment": "production"})
    with closing(RawStream(previous, key=key["secret"])) as stream:
        assert stream.event()[1]["flags"]["a"].get("enabled", False) is list(writer.acknowledged.values())[-2]
    previous.admin.ok("POST", "/projects/default/flags/a/archive")
    check(previous, [writer])


def test_it_takes_a_long_list_for_nobody_and_removes_it_with_its_segment(
    previous: ServerProcess, current: ServerProcess, database: dict[str, str]
) -> None:
    migrate(database)
    current.start()
    previous.start()
    made = {"key": "vip", "targeting_keys": [f"user-{number}" for number in range(2_000)]}
    held = current.admin.ok("POST", "/projects/default/segments", made)
    with closing(RawStream(previous)) as stream:
        assert "targeting_keys" not in stream.event()[1]["segments"]["vip"]
    # What it does not know it leaves as it is.
    assert previous.admin.ok("PUT", "/projects/default/segments/vip", {"description": "old"})["targeting_keys"] == []
    seen = current.admin.ok("GET", "/projects/default/segments/vip")
    assert (seen["description"], seen["members"]) == ("old", held["members"])
    previous.admin.ok("DELETE", "/projects/default/segments/vip")
    made["key"] = "again"
    assert current.admin.ok("POST", "/projects/default/segments", made)["members"]["count"] == 2_000


def test_an_upgrade_while_both_releases_write_and_back(
    previous: ServerProcess, current: ServerProcess, database: dict[str, str]
) -> None:
    """Migrate under a running server, add nodes of the new release, take the old one away, and bring it back."""
    writers = [Writer(key) for key in "ab"]
    previous.start()
    for writer in writers:
        previous.admin.create_flag(writer.key)
    with closing(RawStream(previous)) as old_stream:
        _, seen = old_stream.event()
        with writers[0].writing(previous):
            migrate(database)
            current.start()
        assert (is_previous(previous), is_previous(current)) == (True, False)
        with closing(RawStream(current)) as new_stream:
            _both(lambda: _write_in_turns(writers[0], previous, current), lambda: _write_in_turns(writers[1], current))
            top = max(revision for writer in writers for revision in writer.acknowledged)
            told = [follow(stream, top) for stream in (old_stream, new_stream)]
    # Changed through either, told by both, one revision after the other.
    assert told[0] == list(range(told[0][0], top + 1))
    assert set(told[1]) <= set(range(1, top + 1))
    assert previous.terminate() == 0
    writers[0].write(current)
    # An SDK that comes from the old server, with what it had there, gets what it has missed, and nothing else.
    with closing(RawStream(current, {"Last-Event-ID": f"{seen['epoch']}-{top}"})) as stream:
        name, change = stream.event()
        assert (name, change["since"], change["revision"]) == ("change", top, top + 1)
    # Called off: the old release starts on what the new one has made of the database, and goes on.
    previous.start()
    assert is_previous(previous)
    for server in (previous, current, previous):
        writers[1].write(server)
    for server in (previous, current):
        check(server, writers)


def _write_in_turns(writer: Writer, *servers: ServerProcess) -> None:
    for number in range(WRITES):
        writer.write(servers[number % len(servers)])


def _both(*works: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result(PATIENCE)
