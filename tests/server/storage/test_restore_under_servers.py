"""A database brought back to an earlier state while servers use it: they follow, and so do SDKs, to lower revisions
too."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fader import Client
from processes import PATIENCE, ServerProcess, wait_for
from raw_stream import RawStream
from server_commands import ServerCommand, program
from services.postgres import PostgresDatabases, PostgresServer

POLL = {"FADER_POLL_SECONDS": "0.1"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> ServerCommand:
    """The server's commands, beside servers."""
    return ServerCommand(capsys, monkeypatch)


class Follower:
    """All that follows one server: a stream, byte by byte, and an SDK in an application."""

    def __init__(self, server: ServerProcess, stack: ExitStack) -> None:
        self.stream = stack.enter_context(closing(RawStream(server)))
        name, self.newest = self.stream.event()
        assert name == "snapshot"
        self.client = stack.enter_context(Client(url=server.url, sdk_key=server.sdk_key(), cache_dir=None, usage=False))

    def sees(self, revision: int, *, is_on: bool) -> None:
        """The SDK gets there."""
        wait_for(lambda: self.client.revision == revision, f"the SDK to be at {revision}")
        assert self.client.is_enabled("a", "user") is is_on

    def next(self) -> str:
        """The next event of the stream, which brings this."""
        name, self.newest = self.stream.event()
        return name


def follow_there_and_back(nodes: list[ServerProcess], save: Callable[[], None], restore: Callable[[], None]) -> None:
    """Turn a flag on; save; turn it off, and write more; restore: it is on everywhere, without anybody's restart."""
    first, last = nodes[0], nodes[-1]
    first.admin.create_flag("a")
    earlier = first.admin.verb("a", "on")["revision"]
    save()
    first.admin.verb("a", "off")
    first.admin.create_flag("b")
    later = last.admin.ok("GET", "/projects/default/environments/production")["revision"]
    assert later > earlier
    with ExitStack() as stack:
        followers = [Follower(node, stack) for node in nodes]
        for follower in followers:
            follower.sees(later, is_on=False)
            while follower.newest["revision"] < later:
                follower.next()
        past = followers[0].newest["epoch"]
        restore()
        for follower in followers:
            assert follower.next() == "snapshot"
            assert follower.newest["revision"] == earlier
            assert follower.newest["epoch"] != past
            assert follower.newest["flags"].keys() == {"a"}
            follower.sees(earlier, is_on=True)
        # Life goes on from there, under revisions that were given out before, in the life that is over. What had led
        # to the state that was restored can be undone.
        assert last.admin.verb("a", "undo")["revision"] == earlier + 1
        for follower in followers:
            assert follower.next() == "change"
            assert (follower.newest["since"], follower.newest["revision"]) == (earlier, earlier + 1)
            follower.sees(earlier + 1, is_on=False)
        epoch = followers[0].newest["epoch"]
    # Who comes back from the life that is over takes all of it anew; who was there in this one, what has changed.
    with closing(RawStream(first, {"Last-Event-ID": f"{past}-{later}"})) as stream:
        name, snapshot = stream.event()
        assert (name, snapshot["epoch"], snapshot["revision"]) == ("snapshot", epoch, earlier + 1)
    with closing(RawStream(first, {"Last-Event-ID": f"{epoch}-{earlier}"})) as stream:
        assert stream.event()[0] == "change"
    told = first.admin.ok("GET", "/projects/default/changes?environment=production&limit=500")["items"]
    assert [entry["revision"] for entry in told] == list(range(earlier + 1, 0, -1))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "server", POLL)
    server.start()
    yield server
    server.close()


def test_sqlite_restored_under_a_server(server: ServerProcess, run: ServerCommand, tmp_path: Path) -> None:
    url, file = f"sqlite:///{server.database}", str(tmp_path / "backup.db")

    def save() -> None:
        assert run(url, "backup", file).out.startswith(f"backed up to {file}: ")
        assert "exists already" in run(url, "backup", file).err
        assert run(url, "backup", file, "--force").code == 0

    def restore() -> None:
        done = run(url, "restore", file)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"restored from {file}: 3 environments have begun a new epoch")
        assert f"kept in {server.database}.before-restore-" in done.out

    follow_there_and_back([server], save, restore)
    server.restart()
    assert server.admin.ok("GET", "/projects/default/flags/a")["environments"]["production"]["enabled"] is False
    assert "Traceback" not in server.log.read_text()


def test_a_backup_from_before_there_were_these_credentials(
    server: ServerProcess, run: ServerCommand, tmp_path: Path
) -> None:
    """Those that the settings name are there after the next start, whatever was restored."""
    with closing(server.sibling(tmp_path / "stranger")) as stranger:
        stranger.admin_token = f"{server.admin_token}-another"
        stranger._keys = {name: f"{key}another" for name, key in server._keys.items()}
        stranger.start()
        stranger.admin.create_flag("strange")
        assert run(f"sqlite:///{stranger.database}", "backup", str(tmp_path / "backup.db")).code == 0
    with closing(RawStream(server)) as stream:
        stream.event()
        assert run(f"sqlite:///{server.database}", "restore", str(tmp_path / "backup.db")).code == 0
        # A key that the restored database does not know is as good as revoked.
        assert stream.rest()[-1][0] == "goodbye"
    server.restart()
    assert [flag["key"] for flag in server.admin.ok("GET", "/projects/default/flags")["items"]] == ["strange"]
    with closing(RawStream(server)) as stream:
        assert stream.event()[1]["flags"].keys() == {"strange"}


@pytest.fixture(scope="module")
def cluster(postgres: PostgresDatabases) -> PostgresServer:
    if not isinstance(postgres, PostgresServer):
        pytest.skip("needs pg_dump and pg_restore of the server's own version")
    return postgres


@pytest.fixture(scope="module")
def nodes(cluster: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    """Two servers on one PostgreSQL, without anything else."""
    folder = tmp_path_factory.mktemp("nodes")
    first = ServerProcess(folder / "0", {**POLL, "DATABASE_URL": cluster.create_database()})
    found = [first, first.sibling(folder / "1")]
    try:
        for node in found:
            node.start()
        yield found
    finally:
        for node in found:
            node.close()


def test_postgresql_restored_beside_servers_and_put_in_place(
    nodes: list[ServerProcess], cluster: PostgresServer, run: ServerCommand
) -> None:
    """As docs/how-to/back-up.md says: into a database of its own, which then takes the name of the one in use."""
    url, restored = nodes[0]._environment["DATABASE_URL"], cluster.create_database()
    name, restored_name = (one.rpartition("/")[2] for one in (url, restored))

    def save() -> None:
        cluster.run("pg_dump", "--format=custom", "--file=fader.dump", f"--dbname={url}")

    def restore() -> None:
        cluster.run("pg_restore", "--exit-on-error", f"--dbname={restored}", "fader.dump")
        assert program("migrate", DATABASE_URL=restored).code == 0
        done = run(restored, "renew-epochs")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("3 environments have begun a new epoch")
        for statement in (
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            f"ALTER DATABASE {name} RENAME TO {name}_before_restore",
            f"ALTER DATABASE {restored_name} RENAME TO {name}",
        ):
            cluster.execute(statement)

    follow_there_and_back(nodes, save, restore)
    for node in nodes:
        assert "Traceback" not in node.log.read_text()
        assert "a chore failed" not in node.log.read_text()


def test_epochs_renewed_under_servers(nodes: list[ServerProcess], run: ServerCommand) -> None:
    """Whatever has brought the state back: from here on everybody follows it, even to a revision that they have."""
    nodes[0].admin.create_flag("renewed")
    here = nodes[0].admin.ok("GET", "/projects/default/environments/production")
    with ExitStack() as stack:
        followers = [Follower(node, stack) for node in nodes]
        for follower in followers:
            while follower.newest["revision"] < here["revision"]:
                follower.next()
        assert run(nodes[0]._environment["DATABASE_URL"], "renew-epochs").code == 0
        for follower in followers:
            assert (follower.next(), follower.newest["revision"]) == ("snapshot", here["revision"])
            assert follower.newest["epoch"] != here["epoch"]
        revision = nodes[1].admin.verb("renewed", "on")["revision"]
        for follower in followers:
            wait_for(lambda follower=follower: follower.client.revision == revision, "the SDK to follow")


def test_a_disk_that_is_full_changes_nothing(server: ServerProcess, run: ServerCommand, tmp_path: Path) -> None:
    """Files may not grow beyond a limit, which is what a full disk amounts to."""
    url, file = f"sqlite:///{server.database}", tmp_path / "backup.db"
    server.admin.create_flag("a")
    assert run(url, "backup", str(file)).code == 0
    server.admin.create_flag("b")
    whole = [sys.executable, "-m", "fader_server"]
    for arguments in (["backup", str(tmp_path / "another.db")], ["restore", str(file)]):
        full = subprocess.run(
            ["/bin/sh", "-c", 'ulimit -f 40 && exec "$@"', "sh", *whole, *arguments],
            env=os.environ | {"DATABASE_URL": url},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (full.returncode, full.stdout, full.stderr.count("\n")) == (2, "", 1), full
    assert [flag["key"] for flag in server.admin.ok("GET", "/projects/default/flags")["items"]] == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["backup.db"]
    beside = {path.name for path in server.folder.iterdir()}
    assert beside <= {"fader.db", "fader.db-wal", "fader.db-shm", "server.log"}


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_what_is_for_sqlite_names_what_is_for_postgresql(command: str, run: ServerCommand, tmp_path: Path) -> None:
    done = run("postgresql://fader:hunter2@127.0.0.1:1/fader", command, str(tmp_path / "fader.db"))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    for name in ("pg_dump", "pg_restore", "fader-server renew-epochs"):
        assert name in done.err
    assert "hunter2" not in done.err
    assert list(tmp_path.iterdir()) == []
