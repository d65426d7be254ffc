"""The clients of others, each in a process that all tests of a worker share, and a server for those of them that need
nothing of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from processes import ServerProcess, running_server
from real_clients.client_process import ClientProcess
from real_clients.clients import COMMANDS

NewKey = Callable[[str], dict[str, str]]


class ClientProcesses:
    """Processes by the name of their client, started when first asked for."""

    def __init__(self, until: ExitStack) -> None:
        self._until = until
        self._running: dict[str, ClientProcess] = {}

    def __getitem__(self, name: str) -> ClientProcess:
        if name not in self._running:
            self._running[name] = self._until.enter_context(ClientProcess(*COMMANDS[name]()))
        return self._running[name]


@pytest.fixture(scope="session")
def clients() -> Iterator[ClientProcesses]:
    """Where to make clients: ``clients["Unleash for Node"].create(…)``."""
    with ExitStack() as until:
        yield ClientProcesses(until)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that many tests share: each has flags of its own, and a key of its own where it counts streams."""
    # With heartbeats far more often than usual, so that all clients get to see some.
    hurried = {"FADER_HEARTBEAT_SECONDS": "0.2", "FADER_POLL_SECONDS": "0.5", "FADER_MAX_STREAMS_PER_KEY": "4"}
    with running_server(tmp_path_factory.mktemp("real-clients") / "server", **hurried) as server:
        yield server


@pytest.fixture
def new_key(server: ServerProcess, request: pytest.FixtureRequest) -> NewKey:
    """Makes a key for ``production``, for servers or for clients: its ``id`` and its ``secret``."""

    def make(kind: str) -> dict[str, str]:
        wanted = {"name": request.node.name[:100], "environment": "production", "kind": kind}
        made: dict[str, str] = server.admin.ok("POST", "/projects/default/keys", wanted)
        return made

    return make
