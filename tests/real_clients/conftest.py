"""The clients of others, each in a process that all tests of a worker share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from real_clients.client_process import ClientProcess
from real_clients.clients import COMMANDS


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
