"""A server that says what its first event brings a client to is believed at once, without waiting for what may come."""

import contextlib
import threading
from pathlib import Path

import pytest

from fader import Client
from sdk_contract.answers import announcing
from sdk_contract.scripted_server import ScriptedServer


def test_who_has_what_was_announced_does_not_wait_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fader.synchronizer._SETTLED_AFTER", 3600.0)
    go_on = threading.Event()
    with contextlib.ExitStack() as stack:
        server = ScriptedServer()
        stack.callback(server.stop)
        stack.callback(go_on.set)
        told = {"url": server.url, "sdk_key": "default:production.key", "cache_dir": tmp_path, "usage": False}
        with Client(**told) as first:
            assert first.wait_until_ready(10)
        server.script("stream", announcing("0123abcd-1", go_on))
        with Client(**told) as second:
            assert second.wait_until_ready(10)
