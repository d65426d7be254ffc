"""``watch`` while the server goes away and comes back."""

from pathlib import Path

import pytest

from command_line import Cli
from processes import PATIENCE, running_server


def test_watch_goes_on_where_it_was(unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server(tmp_path) as server:
        monkeypatch.setenv("FADER_URL", server.url)
        monkeypatch.setenv("FADER_TOKEN", server.admin_token)
        monkeypatch.setenv("FADER_ENVIRONMENT", "production")
        unsigned.ok("create", "a")
        process = unsigned.start("watch", "-n", "2")
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            assert "watching" in process.stderr.readline()
            unsigned.ok("on", "a", "--reason", "before")
            assert "“before”" in process.stdout.readline()
            server.kill()
            assert "waiting for it" in process.stderr.readline()
            server.start()
            unsigned.ok("off", "a", "--reason", "after")
            out, _ = process.communicate(timeout=PATIENCE)
            assert "“after”" in out
            assert process.returncode == 0
        finally:
            process.kill()
            process.communicate()
