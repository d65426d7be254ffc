"""A distributor on a real database that a test can hold up, or break, for a moment."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from distribution_setting import Setting, TroubledStore
from services.sqlite_files import make_database


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[TroubledStore]:
    make_database(tmp_path / "fader.db")
    store = TroubledStore(f"sqlite:///{tmp_path}/fader.db")
    await store.prepare()
    yield store
    await store.close()


@pytest.fixture
async def setting(store: TroubledStore) -> AsyncIterator[Setting]:
    setting = Setting(store)
    yield setting
    await setting.close()
