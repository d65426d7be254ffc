"""The release before this one, as a program that tests can run: taken out of the history of this repository."""

import io
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Final

import pytest

COMMIT: Final = "edbe375b4ad1662fc3feb09980ded5bab5fc7957"
"""Where the previous release stands. A new release moves this on to the one before it."""

# Its successor is the first that keeps data in PostgreSQL, too. Once that is the previous release, the tests take both.
DATABASES: Final = ("sqlite",)

_ROOT: Final = Path(__file__).resolve().parents[3]
_SOURCES: Final = ("sdk", "server")


def unpack(folder: Path) -> dict[str, str]:
    """Put its code into a folder.

    Returns:
        The variables of the environment with which ``python -m fader_server`` is that release.
    """
    try:
        found = subprocess.run(
            ["git", "archive", "--format=zip", COMMIT, *_SOURCES], cwd=_ROOT, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        reason = f"the history of the repository is not here, and so neither is the previous release ({COMMIT:.7})"
        if os.environ.get("CI"):
            pytest.fail(reason)  # where changes are judged, nobody would notice a test that is left out
        pytest.skip(reason)
    with zipfile.ZipFile(io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder)
    return {"PYTHONPATH": os.pathsep.join(str(folder / source) for source in _SOURCES)}
