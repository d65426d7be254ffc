"""The documentation is held to the code: links lead somewhere, code runs, commands exist, worked examples are right."""

import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import fader
from fader.bucketing import bucket
from fader_cli.program import program

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def anchors(page: Path) -> set[str]:
    """The anchors that a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        if not block.startswith((">>>", "from fader import Client, Context, Err")):
            compile(block, name_of(page), "exec")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name_of)
def test_commands_exist_with_their_options(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("users.txt", "export.json", "segments.json", "flags.json"):
        (tmp_path / name).touch()  # files that commands on these pages read
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", "").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "fader":
                parse(program, words[1:])


def parse(command: click.Command, words: list[str]) -> None:
    """Parse a command line with the real parser, and run nothing."""
    with click.Context(command, info_name="fader") as context:
        if isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, words)
            assert found is not None, name
            parse(found, rest)
        else:
            command.parse_args(context, list(words))


def test_the_worked_buckets_are_right() -> None:
    page = (ROOT / "docs/explanation/evaluation.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \| (in|–) \| (in|–) \| (in|–) \|$", page, re.MULTILINE)
    assert len(rows) >= 4
    for user, hashed, place, *shares in rows:
        assert bucket("new-checkout", user) == int(place)
        assert int(hashed) % 100 * 1000 + int(hashed) // 100 % 1000 == int(place)
        assert [share == "in" for share in shares] == [int(place) < percent * 1000 for percent in (1, 10, 50)]


def test_the_reference_is_what_the_code_says() -> None:
    command = [sys.executable, "docs/reference_pages.py", "--check"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("module", [found.name for found in pkgutil.walk_packages(fader.__path__, "fader.")])
def test_examples_in_docstrings_hold(module: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert failed == 0
