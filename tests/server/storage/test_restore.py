"""Restoring SQLite: at one moment for everybody, with nothing lost, or not at all."""

import asyncio
import operator
import os
import secrets
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fader_server.storage.backup import back_up
from fader_server.storage.restore import restore
from fader_server.storage.schema_version import NEWEST
from fader_server.storage.sqlite_files import FileError
from processes import PATIENCE, wait_for
from server.storage.schemas import differences, make_as_before, make_from_the_future
from server.storage.sqlite_states import FLAGS, ask, connected, make, mark, marks, marks_of

EPOCHS = "SELECT key, epoch FROM environments ORDER BY key"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where all flags are in the state ``new``."""
    (tmp_path / "live").mkdir()
    file = tmp_path / "live" / "fader.db"
    make(file, "old")
    return file


@pytest.fixture
def backup(database: Path, tmp_path: Path) -> Path:
    """Of the time when they were in the state ``old``."""
    file = tmp_path / "backup.db"
    back_up(database, file)
    mark(database, "new")
    return file


@pytest.fixture
def untouched(database: Path, backup: Path) -> Iterator[None]:
    """For what must not do anything: neither to the database, nor to the backup, nor leave anything behind."""
    epochs = ask(database, EPOCHS)
    yield
    assert marks_of(database) == [("new", FLAGS)]
    assert ask(database, EPOCHS) == epochs
    assert {path.name.removeprefix("fader.db") for path in database.parent.iterdir()} <= {"", "-wal", "-shm"}


def test_the_database_is_as_it_was_and_what_it_had_become_is_kept(database: Path, backup: Path) -> None:
    saved = backup.read_bytes()
    replaced = ask(database, EPOCHS)
    done = restore(database, backup)
    assert marks_of(database) == [("old", FLAGS)]
    assert backup.read_bytes() == saved
    assert done.before is not None
    assert marks_of(done.before) == [("new", FLAGS)]
    assert ask(done.before, EPOCHS) == replaced
    assert stat.S_IMODE(done.before.stat().st_mode) == 0o600
    # Everybody who knows an environment learns that it lives anew.
    assert done.environments == len(replaced) == 3
    renewed = ask(database, EPOCHS)
    assert not {epoch for _, epoch in renewed} & {epoch for _, epoch in [*replaced, *ask(backup, EPOCHS)]}
    assert ask(database, "PRAGMA journal_mode") == [("wal",)]
    assert ask(database, "PRAGMA integrity_check") == [("ok",)]
    # And there is a way back.
    restore(database, done.before)
    assert marks_of(database) == [("new", FLAGS)]


def test_the_past_comes_along_into_the_new_epoch(database: Path, backup: Path, tmp_path: Path) -> None:
    with connected(backup) as connection:
        for revision in (1, 2):
            connection.execute(
                "INSERT INTO changes (project, environment, epoch, revision, kind, key, action, actor, at, reason) "
                "SELECT project, key, epoch, ?, 'flag', 'a', 'update', 'ada', '2026-05-01', '' FROM environments",
                (revision,),
            )
        connection.execute(
            "INSERT INTO changes (project, environment, epoch, revision, kind, key, action, actor, at, reason) "
            "VALUES ('default', 'production', 'of another life', 1, 'flag', 'a', 'update', 'eve', '2026-05-01', '')"
        )
        connection.execute("UPDATE environments SET revision = 2")
    restore(database, backup)
    epochs = dict(ask(database, EPOCHS))
    assert ask(database, "SELECT environment, epoch, revision FROM changes ORDER BY actor, environment, revision") == [
        *((environment, epochs[environment], revision) for environment in sorted(epochs) for revision in (1, 2)),
        ("production", "of another life", 1),
    ]


class Reader:
    """Reads in two places, far from each other, at one moment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.seen: list[tuple[list[tuple[str, int]], str]] = []

    def read_until(self, is_over: threading.Event) -> None:
        with connected(self._file) as connection:
            while not is_over.is_set():
                connection.execute("BEGIN")
                found = marks(connection), dict(connection.execute(EPOCHS).fetchall())["production"]
                connection.execute("COMMIT")
                self.seen.append(found)

    def check(self) -> None:
        """All flags are in one state, which is the restored one or belongs to the epoch; and never back again in the
        restored one while the epoch is the same."""
        has_moved_on: set[str] = set()
        for [(text, count)], epoch in self.seen:
            assert count == FLAGS
            assert text in {"old", f"new in {epoch}"}
            if text == "old":
                assert epoch not in has_moved_on
            else:
                has_moved_on.add(epoch)


class Writer:
    """Writes one row after the other."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.acknowledged: list[str] = []

    def write_until(self, is_over: threading.Event) -> None:
        with connected(self._file) as connection:
            while not is_over.is_set():
                row = secrets.token_hex(8)
                connection.execute(
                    "INSERT INTO usage_reports VALUES ('default', 'production', ?, '2026-05-01')", (row,)
                )
                self.acknowledged.append(row)


def test_nobody_ever_sees_half_of_it_and_no_write_is_lost(database: Path, backup: Path) -> None:
    """Others read and write all the time; what was acknowledged is in what was kept, or came afterwards."""
    readers, writers = [Reader(database) for _ in range(2)], [Writer(database) for _ in range(2)]
    is_over = threading.Event()

    def progress() -> list[int]:
        return [len(one.seen) for one in readers] + [len(one.acknowledged) for one in writers]

    def others_go_on() -> None:
        enough = [count + 3 for count in progress()]
        wait_for(
            lambda: any(one.done() for one in going) or all(map(operator.ge, progress(), enough)),
            "others to read and write",
        )

    mark(database, f"new in {dict(ask(database, EPOCHS))['production']}")
    with ThreadPoolExecutor(4) as threads:
        going = [
            *(threads.submit(reader.read_until, is_over) for reader in readers),
            *(threads.submit(writer.write_until, is_over) for writer in writers),
        ]
        try:
            for _ in range(3):
                others_go_on()
                restore(database, backup)
                assert marks_of(database) == [("old", FLAGS)]
                others_go_on()
                mark(database, f"new in {dict(ask(database, EPOCHS))['production']}")
        finally:
            is_over.set()
        for done in going:
            done.result(PATIENCE)
    for reader in readers:
        reader.check()
    states = {text for reader in readers for [(text, _)], _ in reader.seen}
    assert len(states) >= 3, "they have seen it happen"
    kept = [database, *database.parent.glob("fader.db.before-restore-*")]
    rows = {row for file in kept for (row,) in ask(file, "SELECT id FROM usage_reports")}
    assert {row for writer in writers for row in writer.acknowledged} <= rows


def test_an_older_backup_is_brought_up_to_date(database: Path, tmp_path: Path) -> None:
    asyncio.run(make_as_before(f"sqlite:///{tmp_path}/older.db", "0001"))
    saved = (tmp_path / "older.db").read_bytes()
    restore(database, tmp_path / "older.db")
    assert asyncio.run(differences(f"sqlite:///{database}")) == []
    assert ask(database, "SELECT version_num FROM schema_version") == [(NEWEST,)]
    assert ask(database, "SELECT description FROM projects") == [("from before",)]
    assert (tmp_path / "older.db").read_bytes() == saved


def test_a_backup_of_another_page_size_fits(database: Path, backup: Path) -> None:
    with connected(backup) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("VACUUM")
    restore(database, backup)
    assert marks_of(database) == [("old", FLAGS)]
    assert ask(database, "PRAGMA page_size") == [(4096,)]


def test_a_copy_in_two_files_is_a_backup_too(database: Path, backup: Path, tmp_path: Path) -> None:
    """Somebody has copied the database with what lies beside it, while nobody used it."""
    with connected(database) as connection:
        connection.execute("UPDATE flags SET description = 'in the second file'")
        for name in ("fader.db", "fader.db-wal"):
            (tmp_path / name).write_bytes((database.parent / name).read_bytes())
    restore(database, tmp_path / "fader.db")
    assert marks_of(database) == [("in the second file", FLAGS)]


def test_a_database_that_is_gone_is_made_anew(database: Path, backup: Path) -> None:
    database.unlink()
    # Without its file SQLite would take this for the last writes to whatever gets its name.
    orphan = database.with_name("fader.db-wal")
    orphan.write_bytes(b"the last writes")
    done = restore(database, backup)
    assert done.before is None
    assert marks_of(database) == [("old", FLAGS)]
    [aside] = database.parent.glob("fader.db-wal.before-restore-*")
    assert aside.read_bytes() == b"the last writes"


def _is_cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _is_text(file: Path) -> None:
    file.write_text("not a database" * 1000)


def _is_of_somebody_else(file: Path) -> None:
    file.unlink()
    sqlite3.connect(file).executescript("CREATE TABLE flags (x)").connection.close()


def _is_from_the_future(file: Path) -> None:
    asyncio.run(make_from_the_future(f"sqlite:///{file}", "9999", "9998"))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("becomes", "why"),
    [
        (Path.unlink, "there is no file"),
        (_is_cut_short, "malformed|damaged"),
        (_is_text, "file is not a database"),
        (_is_of_somebody_else, "cannot be restored: it is no database of Fader"),
        (_is_from_the_future, f"cannot be restored: it has schema 9999, and this version of Fader works with {NEWEST}"),
    ],
)
def test_what_is_no_use_is_refused(database: Path, backup: Path, becomes: Callable[[Path], None], why: str) -> None:
    becomes(backup)
    with pytest.raises(FileError, match=why) as refused:
        restore(database, backup)
    assert "partial" not in str(refused.value), "names a file that nobody has seen"


@pytest.mark.usefixtures("untouched")
def test_a_database_is_no_backup_of_itself(database: Path) -> None:
    with pytest.raises(FileError, match="is the database itself"):
        restore(database, database)


@pytest.mark.usefixtures("untouched")
def test_if_what_is_there_cannot_be_kept_it_stays(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write lock is held by then, and pages have been written."""
    from fader_server.storage import restore as module

    def refuse(*_arguments: object, **_named: object) -> None:
        raise FileError("no room")

    monkeypatch.setattr(module, "put_into_place", refuse)
    with pytest.raises(FileError, match="no room"):
        restore(database, backup)
    mark(database, "new")  # nobody holds the lock


def test_a_restore_that_is_killed_has_changed_nothing(database: Path, backup: Path) -> None:
    """By ``kill -9``, with the write lock held and the first page written."""
    program = (
        "import os, sys; from pathlib import Path; from fader_server.storage import restore\n"
        "restore.put_into_place = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "restore.restore(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    epochs = ask(database, EPOCHS)
    killed = subprocess.run([sys.executable, "-c", program, database, backup], timeout=PATIENCE, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (marks_of(database), ask(database, EPOCHS)) == ([("new", FLAGS)], epochs)
    restore(database, backup)
    assert marks_of(database) == [("old", FLAGS)]


@pytest.mark.usefixtures("untouched")
def test_who_does_not_let_go_of_the_lock_is_not_waited_for_for_ever(
    database: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fader_server.storage import restore as module
    from fader_server.storage import sqlite_files

    monkeypatch.setattr(module, "BUSY_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(sqlite_files, "BUSY_TIMEOUT_SECONDS", 0.1)
    with connected(database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(FileError, match="locked"):
            restore(database, backup)


def test_a_database_that_is_beyond_use_must_be_moved_first(database: Path, backup: Path) -> None:
    _is_text(database)
    with pytest.raises(FileError, match="not a database; stop the servers, move the file"):
        restore(database, backup)
    database.rename(database.with_name("damaged.db"))
    restore(database, backup)
    assert marks_of(database) == [("old", FLAGS)]
