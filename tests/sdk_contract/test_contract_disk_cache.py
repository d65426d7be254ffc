"""The last good data on disk: what a process answers from that starts while the server is away."""

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sdk_contract.answers import silence, stream
from sdk_contract.documents import OTHER_EPOCH, flag, flag_for_segment, segment, snapshot, snapshot_event
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually

Connect = Callable[..., SdkClient]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def filled(folder: Path, server: ScriptedServer, connect: Connect, **settings: object) -> None:
    """Let a client fill the cache and go."""
    client = connect(cache_dir=str(folder), **settings)
    client.wait()
    client.follows(server.world.revision)
    eventually(lambda: files(folder), "a file in the cache")
    client.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def silenced(server: ScriptedServer) -> ScriptedServer:
    server.always("stream", silence)
    server.always("snapshot", silence)
    return server


def test_new_client_answers_from_disk_while_the_server_is_away(
    server: ScriptedServer, connect: Connect, folder: Path
) -> None:
    server.world.flags["for-members"] = flag_for_segment("for-members", "members")
    server.world.segments["members"] = segment("members", "user-1")
    filled(folder, server, connect)
    silenced(server)
    client = connect(cache_dir=str(folder))
    assert client.is_enabled("lit")
    assert client.is_enabled("for-members", "user-1")
    assert not client.is_enabled("for-members", "user-2")
    assert client.revision == 1


def test_dead_server_is_no_obstacle(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect)
    server.stop()
    client = connect(cache_dir=str(folder))
    assert client.is_enabled("lit")
    assert client.revision == 1


def test_offline_client_answers_from_disk(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect)
    connections = server.connections
    client = connect(cache_dir=str(folder), offline=True)
    assert client.is_enabled("lit")
    assert server.connections == connections


def test_empty_environment_is_kept_as_such(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    server.world.flags.clear()
    filled(folder, server, connect)
    silenced(server)
    client = connect(cache_dir=str(folder))
    assert client.evaluate("lit", default=1)["error_code"] == "FLAG_NOT_FOUND"


def test_client_with_a_copy_asks_for_what_is_newer_only(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect)
    server.change(flag("newer"))
    asked = len(server.asked("stream"))
    client = connect(cache_dir=str(folder))
    client.follows(2)
    assert client.is_enabled("newer")
    assert server.asked("stream")[asked].since == "0123abcd-1"


def test_polling_client_with_a_copy_names_its_version(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect)
    connect(cache_dir=str(folder), streaming=False)
    assert server.wait_for("snapshot")[0].headers["if-none-match"] == '"0123abcd-1"'


def test_copy_follows_changes_and_deletions(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    server.world.flags["doomed"] = flag("doomed")
    client = connect(cache_dir=str(folder))
    client.wait()
    server.change(flag("lit", False), delete=("doomed",))
    client.follows(2)
    client.close()
    silenced(server)
    second = connect(cache_dir=str(folder))
    eventually(lambda: second.revision == 2, "revision 2 from disk")
    assert not second.is_enabled("lit")
    assert second.evaluate("doomed", default=1)["error_code"] == "FLAG_NOT_FOUND"


def test_copy_of_a_later_revision_is_not_replaced_by_an_earlier_one(
    server: ScriptedServer, connect: Connect, folder: Path
) -> None:
    server.world.revision = 10
    filled(folder, server, connect)
    # A node that lags behind.
    server.world.begin_epoch(server.world.epoch, 8)
    server.world.flags["lit"] = flag("lit", False)
    client = connect(cache_dir=str(folder))
    server.wait_for("stream", 2)
    client.close()
    silenced(server)
    assert connect(cache_dir=str(folder)).is_enabled("lit")


def test_new_epoch_replaces_the_copy(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    server.world.revision = 10
    filled(folder, server, connect)
    server.world.begin_epoch(OTHER_EPOCH, 2)
    server.world.flags["lit"] = flag("lit", False)
    client = connect(cache_dir=str(folder))
    client.follows(2)
    client.close()
    silenced(server)
    assert not connect(cache_dir=str(folder)).is_enabled("lit")


def test_keys_and_servers_have_copies_of_their_own(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect, sdk_key="default:production.one")
    silenced(server)
    stranger = connect(cache_dir=str(folder), sdk_key="default:staging.two")
    assert stranger.evaluate("lit", default=1)["error_code"] == "PROVIDER_NOT_READY"


def test_cache_holds_no_secret_and_is_for_its_owner_alone(
    server: ScriptedServer, connect: Connect, folder: Path
) -> None:
    filled(folder, server, connect, sdk_key="default:production.very-secret")
    for path in [folder, *folder.rglob("*")]:
        assert "very-secret" not in path.name
        assert path.stat().st_mode & 0o077 == 0, path
        assert not path.is_file() or b"very-secret" not in path.read_bytes()


def test_without_a_cache_nothing_is_written(server: ScriptedServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "FADER_CACHE_DIR": "off"}
    with SdkProcess(environment, cwd=home) as sdk:
        client = sdk.create(server.url, cache_dir=None)
        client.wait()
        client.close()
        sdk.exit()
    assert files(home) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_by_default_the_copy_is_in_the_user_cache_directory(server: ScriptedServer, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    with SdkProcess(environment, unset=("FADER_CACHE_DIR",)) as sdk:
        client = sdk.create(server.url, cache_dir=None)
        client.wait()
        client.close()
    assert files(tmp_path / "xdg" / "fader")


def corrupt(path: Path, how: str) -> None:
    good = path.read_bytes()
    middle = len(good) // 2
    versions = {
        "empty": b"",
        "half": good[:middle],
        "one bit flipped": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "the first byte changed": bytes([good[0] ^ 1]) + good[1:],
        "zeroes": bytes(len(good)),
        "noise": os.urandom(len(good)),
        "a newline appended": good + b"\n",
        "JSON of something else": b'{"hello": "world"}',
        "endless nesting": b"[" * 200_000,
        "twice": good * 2,
    }
    path.write_bytes(versions[how])


CORRUPTIONS = [
    "empty", "half", "one bit flipped", "the first byte changed", "zeroes", "noise", "JSON of something else",
    "endless nesting", "a newline appended", "twice",
]  # fmt: skip


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_corrupt_copy_is_refused_and_then_replaced(
    server: ScriptedServer, connect: Connect, folder: Path, how: str
) -> None:
    filled(folder, server, connect)
    for path in files(folder):
        corrupt(path, how)
    client = connect(cache_dir=str(folder))
    assert client.wait()
    assert client.is_enabled("lit")
    client.close()
    filled(folder, server, connect)
    silenced(server)
    assert connect(cache_dir=str(folder)).is_enabled("lit")


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_corrupt_copy_and_no_server_give_defaults_and_one_line(
    server: ScriptedServer, connect: Connect, folder: Path, how: str
) -> None:
    filled(folder, server, connect)
    for path in files(folder):
        corrupt(path, how)
    server.stop()
    with SdkProcess() as sdk:
        client = sdk.create(server.url, cache_dir=str(folder))
        assert client.evaluate("lit", default=1)["value"] == 1
        about_the_copy = [
            line for line in sdk.logs() if str(folder) in line or "cache" in line.lower() or "copy" in line
        ]
        assert len(about_the_copy) == 1, about_the_copy


def unprivileged() -> bool:
    return os.geteuid() != 0


def file_for_folder(copy: Path) -> None:
    shutil.rmtree(copy.parent)
    copy.parent.write_text("in the way")


def folder_for_file(copy: Path) -> None:
    copy.unlink()
    copy.mkdir()
    (copy / "full").write_text("so that no rename replaces it")


def dangling_link(copy: Path) -> None:
    copy.unlink()
    copy.symlink_to(copy.parent / "nowhere" / "at-all")


def pipe(copy: Path) -> None:
    copy.unlink()
    os.mkfifo(copy)


def socket_file(copy: Path) -> None:
    copy.unlink()
    if len(str(copy)) > 100:
        pytest.skip("the temporary directory's path is too long for a socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(copy))


def endless_device(copy: Path) -> None:
    copy.unlink()
    copy.symlink_to("/dev/zero")


def no_permission(copy: Path) -> None:
    if not unprivileged():
        pytest.skip("nothing is forbidden to the superuser")
    copy.chmod(0)
    copy.parent.chmod(0o500)


OBSTACLES = [
    file_for_folder,
    folder_for_file,
    dangling_link,
    pipe,
    socket_file,
    endless_device,
    no_permission,
]


@pytest.mark.parametrize("obstruct", OBSTACLES)
def test_cache_that_cannot_be_used_is_worked_around(
    server: ScriptedServer, connect: Connect, folder: Path, obstruct: Callable[[Path], None]
) -> None:
    filled(folder, server, connect)
    (copy,) = files(folder)
    obstruct(copy)
    client = connect(cache_dir=str(folder))
    assert client.wait()
    assert client.is_enabled("lit")
    server.change(flag("lit", False))
    client.follows(2)
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that is mounted read-only, here /proc/sys")
def test_read_only_cache_directory_is_worked_around_with_one_line(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(server.url, cache_dir="/proc/sys/fader")
        client.wait()
        for turn in range(20):
            server.change(flag("lit", bool(turn % 2)))
        client.follows(21)
        client.close()
        assert len(sdk.logs()) <= 1


def test_full_disk_is_worked_around(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    """Writing beyond the limit of the process fails as on a full disk; Python ignores the signal that comes
    with it."""
    server.world.flags |= {f"flag-{number}": flag(f"flag-{number}") for number in range(2_000)}
    filled(folder, server, connect)
    before = {path: path.read_bytes() for path in files(folder)}
    with SdkProcess() as sdk:
        resource.prlimit(sdk.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        client = sdk.create(server.url, cache_dir=str(folder))
        server.change(flag("lit", False))
        client.follows(2)
        client.close()
        assert len(sdk.logs()) <= 1
    # The copy of before is whole, and no debris lies beside it.
    assert {path: path.read_bytes() for path in files(folder)} == before


def test_process_killed_while_it_writes_leaves_a_whole_copy(
    server: ScriptedServer, connect: Connect, folder: Path
) -> None:
    server.world.flags |= {f"flag-{number}": flag(f"flag-{number}") for number in range(3_000)}
    filled(folder, server, connect)
    for turn in range(4):
        with SdkProcess() as sdk:
            client = sdk.create(server.url, cache_dir=str(folder))
            client.wait()
            for step in range(15):
                server.change(flag("lit", bool((turn + step) % 2)))
            client.follows(server.world.revision)
            # Leaving the block kills the process, at whatever it is.
    silenced(server)
    with SdkProcess() as sdk:
        client = sdk.create(server.url, cache_dir=str(folder))
        assert client.revision >= 1
        assert client.is_enabled("flag-2999")
        assert sdk.logs() == []


def test_many_processes_share_one_cache(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    processes = [SdkProcess() for _ in range(4)]
    clients = [process.create(server.url, cache_dir=str(folder)) for process in processes]
    for turn in range(20):
        server.change(flag("lit", bool(turn % 2)))
    for client in clients:
        client.follows(21)
    for process, client in zip(processes, clients, strict=True):
        client.close()
        assert process.logs() == []
        process.__exit__()
    silenced(server)
    last = connect(cache_dir=str(folder))
    eventually(lambda: last.revision == 21, "the newest revision on disk")


def test_stale_copy_yields_to_what_the_server_says(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    filled(folder, server, connect)
    server.script("stream", stream(snapshot_event(snapshot(7, flag("lit", False))), then_live=True))
    client = connect(cache_dir=str(folder))
    client.follows(7)
    assert not client.is_enabled("lit")
    client.close()


def test_program_can_be_run_where_there_is_no_home(server: ScriptedServer) -> None:
    """As services are: no HOME, an unknown user, a working directory that is gone."""
    program = (
        "import fader, os, tempfile\n"
        "folder = tempfile.mkdtemp()\n"
        "os.chdir(folder)\n"
        "os.rmdir(folder)\n"
        f"client = fader.Client(url={server.url!r}, sdk_key='default:production.s')\n"
        "assert client.wait_until_ready(timeout=15)\n"
        "assert client.is_enabled('lit')\n"
    )
    environment = {"PATH": os.environ["PATH"]}
    user = None if unprivileged() else 54321
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, user=user, group=user
        )
    except PermissionError:
        pytest.skip("an unknown user may not run this Python")
    assert done.returncode == 0, done.stderr
