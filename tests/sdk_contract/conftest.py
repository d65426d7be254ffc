"""A scripted server for each test, and one SDK process that the tests of a worker share.

Sharing the process is part of the test: clients must not disturb each other. Whatever changes the process
itself (environment variables, exits, logs) starts its own by ``SdkProcess(…)``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdk_contract.documents import flag
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server whose world is at revision 1 with one flag, ``lit``, that is on."""
    scripted = ScriptedServer()
    scripted.world.flags["lit"] = flag("lit")
    yield scripted
    scripted.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a disk cache may be; not made yet."""
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def _processes() -> Iterator[list[SdkProcess]]:
    running: list[SdkProcess] = []
    yield running
    for process in running:
        process.__exit__()


@pytest.fixture
def sdk(_processes: list[SdkProcess]) -> SdkProcess:
    """An SDK process that other tests use as well."""
    if not _processes or not _processes[-1].alive:
        _processes.append(SdkProcess())
    return _processes[-1]


@pytest.fixture
def own_sdk() -> Iterator[SdkProcess]:
    """An SDK process for this test alone, which must not leave a traceback behind."""
    with SdkProcess() as process:
        yield process
        assert "Traceback" not in process.errors()


@pytest.fixture
def connect(sdk: SdkProcess, server: ScriptedServer) -> Iterator[Callable[..., SdkClient]]:
    """Creates clients of the scripted server, closed at the end of the test. Takes the settings of
    ``create``."""
    made: list[SdkClient] = []

    def create(**settings: object) -> SdkClient:
        made.append(sdk.create(server.url, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield create
    if sdk.alive:
        for client in made:
            client.close()
    assert "Traceback" not in sdk.errors()
