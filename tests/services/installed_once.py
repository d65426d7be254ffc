"""Programs of others, each installed into a folder of its own in ``.cache``: once, whoever asks first."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

_FOLDERS = Path(__file__).resolve().parents[2] / ".cache" / "clients"
_LONGEST = 300.0
"""Seconds that an installation may take."""


def missing(reason: str) -> NoReturn:
    """Skip the calling test, with the reason; where ``CI`` is ``true`` it fails."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason}, and CI must not go without it", pytrace=False)
    pytest.skip(reason)


def installed_once(name: str, pins: Sequence[Path], command: Callable[[Path], list[str]]) -> Path:
    """The folder with what was installed; another one as soon as something else is pinned.

    Args:
        name: How the folder's name begins.
        pins: The files that say what belongs there. They are copied into the folder first.
        command: What installs it, given the folder, in which it is run.
    """
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in pins)).hexdigest()[:12]
    folder = _FOLDERS / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            # Under another name until it is whole, so that nobody takes for installed what was broken off.
            begun = folder.with_suffix(".begun")
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            for path in pins:
                shutil.copy(path, begun)
            _run(name, command(begun), begun)
            begun.rename(folder)
    return folder


def _run(name: str, command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST, check=False)
    if done.returncode:
        missing(f"{name} could not be installed: {done.stderr.strip()[-500:]}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the only process that is here: others wait. Ends with the process, even if that is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
