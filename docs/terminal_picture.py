"""Draws docs/images/terminal.svg: real commands, run against a real server, as a terminal shows them."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

ROOT: Final = Path(__file__).parent.parent
PICTURE: Final = ROOT / "docs" / "images" / "terminal.svg"
WIDTH: Final = 88
STORY: Final = (
    'fader create new-checkout -d "One-page checkout"',
    "fader on new-checkout --at 10% -e production",
    "fader explain new-checkout --user user-3 -e production",
    'fader off new-checkout -e production --reason "payments fail"',
    "fader history new-checkout -e production -n 2",
)

sys.path.insert(0, str(ROOT / "tests"))
from processes import running_server  # noqa: E402 (the tests' server is not installed)


def main() -> None:
    """Run the story and draw it."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w", encoding="utf-8"), force_terminal=True)  # noqa: SIM115, PTH123
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "FADER_URL": server.url,
            "FADER_TOKEN": server.admin_token,
            "FADER_CONFIG_DIR": folder,
            "FORCE_COLOR": "1",
            "TERM": "xterm-256color",
            "COLUMNS": str(WIDTH),
        }
        for command in STORY:
            console.print(Text.assemble(("$ ", "dim"), (command, "bold")))
            arguments = [sys.executable, "-m", "fader_cli", *shlex.split(command)[1:]]
            ran = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
            console.print(Text.from_ansi(_without_dates(ran.stdout.rstrip())))
    picture = console.export_svg(title="fader")
    PICTURE.parent.mkdir(exist_ok=True)
    # Fonts are the reader's own: nothing is fetched from anywhere.
    PICTURE.write_text(re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL), "utf-8")


def _without_dates(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d)", "2026-11-23 16:04:05", text)


if __name__ == "__main__":
    main()
