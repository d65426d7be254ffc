"""``backup`` and ``restore`` of what ``serve`` keeps."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Cli
from processes import ServerProcess, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server"), FADER_POLL_SECONDS="0.1") as server:
        server.admin.create_flag("a")
        yield server


def test_a_backup_and_the_way_back(unsigned: Cli, server: ServerProcess, tmp_path: Path) -> None:
    database, file = str(server.database), str(tmp_path / "backup.db")
    said = unsigned.ok("backup", file, "--db", database)
    assert re.fullmatch(rf"backed up to {re.escape(file)}: \d+ bytes, schema \d+, checked\n", said)
    assert f"{file} exists already" in unsigned("backup", file, "--db", database).err
    unsigned.ok("backup", file, "--db", database, "--force")
    server.admin.create_flag("b")
    said = unsigned.ok("restore", file, "--db", database, "--yes")
    kept = re.search(r"kept in (\S+)", said)
    assert kept
    assert Path(kept[1]).parent == server.database.parent
    assert [flag["key"] for flag in server.admin.ok("GET", "/projects/default/flags")["items"]] == ["a"]
    unsigned.ok("restore", kept[1], "--db", database, "--yes")
    assert [flag["key"] for flag in server.admin.ok("GET", "/projects/default/flags")["items"]] == ["a", "b"]


def test_restoring_asks_before_it_replaces_anything(unsigned: Cli, server: ServerProcess, tmp_path: Path) -> None:
    file = str(tmp_path / "backup.db")
    unsigned.ok("backup", file, "--db", str(server.database))
    before = server.admin.ok("GET", "/projects/default/environments/production")
    done = unsigned.program("restore", file, "--db", str(server.database), stdin="y\n")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Replace all flags, keys and history" in done.err
    assert "add --yes if you are sure" in done.err
    assert server.admin.ok("GET", "/projects/default/environments/production") == before
    # Where there is nothing yet there is nothing to ask.
    assert "restored from" in unsigned.ok("restore", file, "--db", str(tmp_path / "new" / "fader.db"))


def test_what_goes_wrong_is_told_in_a_line(unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Settings of something else, which a server would not start with.
    monkeypatch.setenv("FADER_PORT", "none")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/fader")
    missing = str(tmp_path / "missing.db")
    done = unsigned("backup", str(tmp_path / "backup.db"), "--db", missing)
    assert (done.code, done.err) == (1, f"fader: there is no file {missing}\n")
    done = unsigned("restore", missing, "--db", str(tmp_path / "fader.db"))
    assert (done.code, done.err) == (1, f"fader: there is no file {missing}\n")
    assert list(tmp_path.iterdir()) == []


def test_what_serve_keeps_by_itself_is_meant(unsigned: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    done = unsigned("backup", str(tmp_path / "backup.db"))
    assert done.code == 1
    assert re.search(rf"there is no file {re.escape(str(tmp_path))}\S*/fader/fader\.db", done.err)


def test_without_the_server_it_names_the_extra(unsigned: Cli, tmp_path: Path) -> None:
    program = (
        "import importlib.util as util, sys; find = util.find_spec;"
        "util.find_spec = lambda name, *more: None if name == 'litestar' else find(name, *more);"
        f"from fader_cli.program import main; sys.exit(main(['backup', {str(tmp_path / 'b.db')!r}]))"
    )
    done = unsigned.python(program)
    assert (done.code, done.err) == (1, "fader: the server is not installed (pip install 'fader[server]')\n")
