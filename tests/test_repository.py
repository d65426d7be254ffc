"""Habits of the repository that no linter holds: what must never be committed, and what must always be there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Assembled here so that this file does not contain what it forbids.
INDEXES = "|".join([r"pypi\.org", "pythonhosted", r"/simple(?:/|\b)", r"registry\.npmjs"])
FOLDERS = "|".join(["wor" + "k", "roo" + "t", "Use" + "rs"])
FORBIDDEN = {
    "the address of a package index": re.compile(rf"https?://[^\s\"']*({INDEXES})"),
    "a path of somebody's machine": re.compile(rf"(?<![\w.])/(?:{FOLDERS})/[a-z.]"),
}


@pytest.fixture(scope="module")
def committed() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so there is no list of committed files")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str, committed: list[Path]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in committed
        if path.is_file() and (match := FORBIDDEN[what].search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert not found


@pytest.mark.parametrize("package", ["sdk/fader", "server/fader_server", "admin_cli/fader_cli"])
def test_packages_announce_their_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
