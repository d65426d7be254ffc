"""Every test of the storage runs on every database that there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fader_server.storage import Store
from services.postgres import PostgresDatabases
from services.sqlite_files import make_database

DATABASES = ["sqlite", "postgresql"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/fader.db"
    postgres: PostgresDatabases = request.getfixturevalue("postgres")
    return postgres.create_database()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    if database_url.startswith("sqlite:///"):
        make_database(Path(database_url.removeprefix("sqlite:///")))
    store = await Store.open(database_url)
    yield store
    await store.close()
