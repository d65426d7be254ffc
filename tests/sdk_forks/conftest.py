"""The server that the programs of the fork matrix follow."""

from collections.abc import Iterator

import pytest

from sdk_contract.scripted_server import ScriptedServer
from sdk_forks.forked_programs import toggled_server


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with toggled_server() as scripted:
        yield scripted
