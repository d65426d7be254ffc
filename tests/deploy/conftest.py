"""The image, built once for all tests that run it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.containers import BuiltImage


@pytest.fixture(scope="session")
def image() -> Iterator[BuiltImage]:
    """What the Dockerfile builds. Pytest's own temporary folders are closed to other users, and this is run as one."""
    folder = Path(tempfile.mkdtemp(prefix="fader-image-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield BuiltImage(folder)
    finally:
        shutil.rmtree(folder)
