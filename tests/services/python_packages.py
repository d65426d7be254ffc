"""Python programs with packages of their own, which would not go together with ours, or with one another."""

import sys
from pathlib import Path

from services.installed_once import installed_once


def python_command(program: Path, pins: Path) -> tuple[list[str], dict[str, str]]:
    """The command line of a program, and the variables that it needs.

    Args:
        program: A file that needs the standard library and these packages, and sees no others.
        pins: The packages with all that they need, each in the version that is to be run.
    """

    def install(folder: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-compile", "--target", str(folder / "packages"), "-r", str(pins)),
        ]

    folder = installed_once(pins.stem, [pins], install)
    # -S leaves out the packages of this interpreter: ours are found otherwise, in other versions.
    return [sys.executable, "-S", str(program)], {"PYTHONPATH": str(folder / "packages")}
