"""Copies on disk that are damaged, in the way, or cannot be written: said once, and worked around."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sdk_contract.disk_copies import Connect, files, filled, silenced
from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkProcess


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
    # Bound elsewhere, because the address of a socket has room for some hundred characters only.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        Path(folder, "socket").replace(copy)


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
        assert len(sdk.logs()) == 1


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system cannot limit another process")
def test_full_disk_is_worked_around(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    """Writing beyond the limit of the process fails as on a full disk; Python ignores the signal with it."""
    server.world.flags |= {f"flag-{number}": flag(f"flag-{number}") for number in range(2_000)}
    filled(folder, server, connect)
    before = {path: path.read_bytes() for path in files(folder)}
    with SdkProcess() as sdk:
        resource.prlimit(sdk.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        client = sdk.create(server.url, cache_dir=str(folder))
        server.change(flag("lit", False))
        client.follows(2)
        client.close()
        assert len(sdk.logs()) == 1
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
