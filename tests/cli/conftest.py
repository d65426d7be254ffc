"""The command line as its users meet it: against a real server, with settings of each test's own."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import Cli
from fader_cli import config
from fader_cli.config import Config, Profile
from processes import ServerProcess, running_server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for profiles, no retries, and no setting of whoever runs the tests."""
    for name in [*os.environ]:
        if name.startswith("FADER_") or name in {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("FADER_CONFIG_DIR", str(tmp_path / "settings"))
    monkeypatch.setenv("FADER_RETRY_FOR", "0")
    return tmp_path / "settings"


@pytest.fixture
def unsigned(settings: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A command line that knows no server."""
    return Cli(capsys)


@pytest.fixture
def project(server: ServerProcess) -> str:
    """A project of the test's own on the server that all tests share."""
    key = f"{os.getpid()}-{next(_numbers)}"
    server.admin.ok("POST", "/projects", {"key": key})
    return key


@pytest.fixture
def cli(unsigned: Cli, server: ServerProcess, project: str) -> Cli:
    """A command line that is signed in as an admin, in a project of the test's own."""
    profile = Profile(url=server.url, token=server.admin_token, project=project, environment="development")
    config.save(Config(current="test", profiles={"test": profile}))
    return unsigned
