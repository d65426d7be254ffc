"""Disks that are full, for the server's SQLite and for the SDK's copy, and copies that are damaged."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from sdk_contract.sdk_under_test import SdkClient, SdkProcess

ROLLOUT = "/projects/default/flags/a/environments/production/rollout"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("nobody here may mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=PATIENCE)


def fill(folder: Path) -> Path:
    """Use up all of a file system; the file that does so."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """The file system is full for the time of the block."""
    ballast = fill(folder)
    yield
    ballast.unlink()


@contextmanager
def at_its_limit(server: ServerProcess) -> Iterator[None]:
    """The server's files cannot become any longer for the time of the block: not the same error, for those who may not
    mount a file system of their own to fill."""
    log = Path(f"{server.database}-wal")
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    yield
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def roll_out(server: ServerProcess, number: int) -> tuple[int, int]:
    """Status and revision of a write."""
    answer = server.admin.request("POST", ROLLOUT, {"percentage": number / 10})
    if answer.status != 200:
        assert answer.status == 503, answer
        assert answer.json["type"] == "urn:fader:problem:unavailable"
        assert "nothing was changed" in answer.json["detail"]
        assert int(answer.headers["Retry-After"]) > 0
        return answer.status, 0
    return 200, answer.json["revision"]


def is_refused(server: ServerProcess, stream: RawStream, before: int) -> int:
    """Write until there is no room left; SDKs are answered nevertheless. The last revision that was made."""
    revision = before
    for number in range(200):
        status, made = roll_out(server, number)
        if status != 200:
            break
        revision = made
    for number in range(200, 205):
        assert roll_out(server, number) == (503, 0)
    if revision > before:
        assert stream.follow(revision)[-1][1]["revision"] == revision
    with closing(RawStream(server)) as new:
        assert new.event()[1]["revision"] == revision
    return revision


@pytest.mark.parametrize("how", [full, at_its_limit])
def test_the_disk_of_sqlite_is_full(tmp_path: Path, request: pytest.FixtureRequest, how: Callable[..., object]) -> None:
    where: Path = request.getfixturevalue("small_disk") if how is full else tmp_path / "data"
    where.mkdir(exist_ok=True)
    with running_server(tmp_path / "server", DATABASE_URL=f"sqlite:///{where}/fader.db") as server:
        server.database = where / "fader.db"
        server.admin.create_flag("a")
        with closing(RawStream(server)) as stream:
            revision = stream.event()[1]["revision"]
            with full(where) if how is full else at_its_limit(server):
                revision = is_refused(server, stream, revision)
            assert roll_out(server, 300) == (200, revision + 1), (
                "a revision is missing, or one that was refused is there"
            )
            assert stream.event()[1]["revision"] == revision + 1
        server.restart()
        with closing(RawStream(server)) as stream:
            assert stream.event()[1]["revision"] == revision + 1


def test_a_server_starts_on_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    with running_server(tmp_path / "server", DATABASE_URL=f"sqlite:///{small_disk}/fader.db") as server:
        server.admin.create_flag("a")
        revision = roll_out(server, 1)[1]
        with full(small_disk):
            server.restart()
            with closing(RawStream(server)) as stream:
                assert stream.event()[1]["revision"] == revision
                revision = is_refused(server, stream, revision)
        assert roll_out(server, 300) == (200, revision + 1)


def connected(sdk: SdkProcess, server: ServerProcess, folder: Path) -> SdkClient:
    return sdk.create(server.url, sdk_key=server.sdk_key(), cache_dir=str(folder))


def test_the_disk_of_the_copy_is_full(tmp_path: Path, small_disk: Path) -> None:
    """The application is answered, with what the server says; the copy is of before, and whole; later it is renewed."""
    with running_server(tmp_path / "server") as server:
        server.admin.create_flag("a")
        server.admin.verb("a", "on")
        with SdkProcess() as sdk:
            client = connected(sdk, server, small_disk)
            assert client.wait()
            client.close()
        (copy,) = small_disk.iterdir()
        before = copy.read_bytes()
        with full(small_disk), SdkProcess() as sdk:
            client = connected(sdk, server, small_disk)
            client.follows(server.admin.verb("a", "off")["revision"])
            assert not client.is_enabled("a")
            client.close()
            assert len(sdk.logs()) == 1
            assert copy.read_bytes() == before
        assert [path.name for path in small_disk.iterdir()] == [copy.name]
        with SdkProcess() as sdk:
            connected(sdk, server, small_disk).wait()
            wait_for(lambda: copy.read_bytes() != before, "the copy to be renewed")


def test_a_copy_is_damaged_while_all_servers_are_away(tmp_path: Path) -> None:
    """Defaults and one line in the log, rather than wrong flags; and the right ones as soon as there is a server."""
    folder = tmp_path / "copies"
    with running_server(tmp_path / "server") as server:
        server.admin.create_flag("a")
        revision = server.admin.verb("a", "on")["revision"]
        with SdkProcess() as sdk:
            client = connected(sdk, server, folder)
            assert client.wait()
            client.close()
        server.kill()
        (copy,) = folder.iterdir()
        good = copy.read_bytes()
        with SdkProcess() as sdk:
            assert connected(sdk, server, folder).is_enabled("a")
        os.truncate(copy, len(good) - 1)
        with SdkProcess() as sdk:
            client = connected(sdk, server, folder)
            assert client.value("a", False) is False
            told = [line for line in sdk.logs() if "copy" in line]
            assert len(told) == 1, told
            server.start()
            client.follows(revision)
            assert client.is_enabled("a")
            wait_for(lambda: copy.read_bytes() == good, "the copy to be whole again")
