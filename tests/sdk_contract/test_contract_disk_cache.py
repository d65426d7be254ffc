"""The last good data on disk: what a process answers from that starts while the server is away."""

import sys
from pathlib import Path

import pytest

from sdk_contract.answers import stream
from sdk_contract.disk_copies import Connect, files, filled, silenced
from sdk_contract.documents import OTHER_EPOCH, flag, flag_for_segment, segment, snapshot, snapshot_event
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkProcess
from sdk_contract.waiting import eventually


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
