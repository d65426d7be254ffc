"""A server with a client key, and a browser that has it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from browsers import CLIENT_KEY, Browser
from in_process import InProcess, running_in_process


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with running_in_process(tmp_path, FADER_INITIAL_CLIENT_KEYS=CLIENT_KEY) as server:
        yield server


@pytest.fixture
def browser(server: InProcess) -> Browser:
    return Browser(server)
