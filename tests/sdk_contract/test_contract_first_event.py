"""When a client that has flags already counts as up to date: exactly then, where the server says what is to come."""

import threading
from collections.abc import Callable
from pathlib import Path

from sdk_contract.answers import announcing
from sdk_contract.documents import flag, snapshot, snapshot_event
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient

Connect = Callable[..., SdkClient]


def with_copy(connect: Connect, folder: Path) -> None:
    """Leave a copy of revision 1 on the disk."""
    first = connect(cache_dir=str(folder))
    assert first.wait()
    first.follows(1)
    first.close()


def test_a_client_is_not_ready_before_the_event_that_was_announced(
    server: ScriptedServer, connect: Connect, tmp_path: Path
) -> None:
    with_copy(connect, tmp_path)
    go_on = threading.Event()
    newer = snapshot(2, flag("lit", enabled=False))
    server.script("stream", announcing("0123abcd-2", go_on, snapshot_event(newer)))
    client = connect(cache_dir=str(tmp_path))
    server.wait_for("stream", 2)
    assert not client.wait(timeout=1.0)
    assert client.revision == 1
    go_on.set()
    assert client.wait()
    assert client.revision == 2


def test_a_client_is_ready_with_the_first_byte_if_it_has_what_was_announced(
    server: ScriptedServer, connect: Connect, tmp_path: Path
) -> None:
    with_copy(connect, tmp_path)
    go_on = threading.Event()
    server.script("stream", announcing("0123abcd-1", go_on))
    client = connect(cache_dir=str(tmp_path))
    assert client.wait()
    assert client.revision == 1
    go_on.set()
