"""Backups of SQLite: whole, checked, on their own, and made while others write."""

import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fader_server.storage.backup import back_up
from fader_server.storage.schema_version import NEWEST
from fader_server.storage.sqlite_files import FileError
from processes import PATIENCE, wait_for
from server.storage.sqlite_states import FLAGS, ask, connected, make, marks_of


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "live").mkdir()
    file = tmp_path / "live" / "fader.db"
    make(file, "here")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def test_a_backup_is_one_file_that_only_its_owner_can_read(database: Path, folder: Path) -> None:
    made = back_up(database, folder / "b.db")
    assert (made.size, made.version.number) == ((folder / "b.db").stat().st_size, NEWEST)
    assert stat.S_IMODE((folder / "b.db").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["b.db"]
    # Neither does reading it need anything beside it, or leave anything there.
    assert marks_of(folder / "b.db") == [("here", FLAGS)]
    assert [path.name for path in folder.iterdir()] == ["b.db"]
    assert ask(folder / "b.db", "PRAGMA integrity_check") == [("ok",)]


def test_a_backup_holds_what_was_committed_and_nothing_half(database: Path, folder: Path) -> None:
    """Writers go on, one transaction after the other; each writes in two places far from each other."""
    is_over = threading.Event()
    committed = [0]

    def write() -> None:
        with connected(database) as connection:
            while not is_over.is_set():
                number = committed[0] + 1
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE flags SET owner = ?", (str(number),))
                connection.execute("UPDATE projects SET description = ?", (str(number),))
                connection.execute("COMMIT")
                committed[0] = number

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write)
        try:
            for position in range(5):
                wait_for(lambda seen=committed[0]: committed[0] > seen or writing.done(), "a write")
                before = committed[0]
                back_up(database, folder / f"{position}.db")
                [(project,)] = ask(folder / f"{position}.db", "SELECT description FROM projects")
                assert ask(folder / f"{position}.db", "SELECT owner, count(*) FROM flags GROUP BY owner") == [
                    (project, FLAGS)
                ]
                assert before <= int(project) <= committed[0] + 1
        finally:
            is_over.set()
        writing.result(PATIENCE)


def test_nothing_is_replaced_unasked(database: Path, folder: Path) -> None:
    (folder / "b.db").write_text("precious")
    with pytest.raises(FileError, match=r"exists already.*--force"):
        back_up(database, folder / "b.db")
    assert (folder / "b.db").read_text() == "precious"
    back_up(database, folder / "b.db", replaces=True)
    assert marks_of(folder / "b.db") == [("here", FLAGS)]
    for target, why in (
        (database, "the database itself"),
        (folder, "is a folder"),
        (folder / "missing" / "b.db", "cannot write to"),
    ):
        with pytest.raises(FileError, match=why):
            back_up(database, target, replaces=True)
    assert marks_of(database) == [("here", FLAGS)]


def test_somebody_who_is_quicker_is_not_replaced_either(
    database: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fader_server.storage import backup

    def slow(*arguments: object) -> object:
        (folder / "b.db").write_text("precious")
        return check(*arguments)

    check = backup.check
    monkeypatch.setattr(backup, "check", slow)
    with pytest.raises(FileError, match="exists already"):
        back_up(database, folder / "b.db")
    assert (folder / "b.db").read_text() == "precious"
    assert [path.name for path in folder.iterdir()] == ["b.db"]


def test_a_backup_is_kept_apart_from_what_lies_there(database: Path, folder: Path) -> None:
    (folder / "b.db-wal").write_text("the last writes to another database")
    with pytest.raises(FileError, match=r"b\.db-wal belongs to another database"):
        back_up(database, folder / "b.db", replaces=True)


def test_what_is_no_database_or_damaged_is_not_worth_a_backup(database: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no file"):
        back_up(tmp_path / "missing.db", folder / "b.db")
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "text.db").write_text("not a database" * 1000)
    with pytest.raises(FileError, match=r"text\.db: file is not a database"):
        back_up(tmp_path / "text.db", folder / "b.db")
    sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE t (x)").connection.close()
    with pytest.raises(FileError, match="not worth a backup: it is no database of Fader"):
        back_up(tmp_path / "other.db", folder / "b.db")
    damage(database)
    with pytest.raises(FileError, match="not worth a backup: it is damaged"):
        back_up(database, folder / "b.db")
    assert list(folder.iterdir()) == []


def damage(file: Path) -> None:
    """Overwrite a page of an index: everything can still be read, until the index is asked."""
    [(page,)] = ask(file, "SELECT rootpage FROM sqlite_master WHERE name = 'changes_by_subject'")
    [(size,)] = ask(file, "PRAGMA page_size")
    with file.open("r+b") as pages:
        pages.seek((page - 1) * size)
        pages.write(os.urandom(size))
