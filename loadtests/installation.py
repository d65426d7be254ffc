"""What users install on a server: ``fader[server]`` and nothing else.

The development environment holds much that the server's libraries import wherever they find it, which costs memory
and time that it does not cost anybody else.
"""

import subprocess
import sys
from pathlib import Path

_PROJECT = Path(__file__).parent.parent


def server_python(folder: Path) -> str:
    """The interpreter of a new virtual environment in a folder, with the server installed from this checkout."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = str(folder / "venv" / "bin" / "python")
    pins = _PROJECT / "requirements" / "constraints.txt"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        pins,
        f"{_PROJECT}[server]",
    ]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return python
