"""Programs for Node, with the npm packages that they need: exactly those of a lockfile, in a folder of their own."""

import os
import shutil
from pathlib import Path

from services.installed_once import installed_once, missing


def node_command(program: Path) -> tuple[list[str], dict[str, str]]:
    """The command line of a program, and the variables that it needs.

    Args:
        program: A CommonJS file, since for those alone Node can be told where packages are. Beside it are
            ``package.json`` and ``package-lock.json``; the lockfile names no registry, so whichever npm is set up to
            use is used.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("Node and npm are not on the path")
    pins = [program.with_name("package.json"), program.with_name("package-lock.json")]
    folder = installed_once(
        "node", pins, lambda _: [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    )
    return [node, str(program)], {"NODE_PATH": str(folder / "node_modules"), "PATH": os.environ.get("PATH", "")}
