"""A server, and a browser that has a client key to a project of its own."""

import itertools
from collections.abc import AsyncIterator
from typing import Final

import pytest

from browsers import Browser
from in_process import InProcess, running_in_process

_numbers: Final = itertools.count(1)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcess]:
    async with running_in_process(tmp_path_factory.mktemp("frontend")) as server:
        yield server


@pytest.fixture
async def browser(server: InProcess) -> Browser:
    return await Browser.of_new_project(server, f"p{next(_numbers)}")
