"""The pytest plugin, in runs of pytest as users have them."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from fader import flags

pytestmark = pytest.mark.fader_flags(of_module=True, button_colour="red")

@pytest.mark.fader_flags(new_checkout=True)
def test_marker():
    assert flags.is_enabled("new-checkout")
    assert flags.value("button-colour", default="blue") == "red"
    assert not flags.is_enabled("unknown")

def test_the_next_test_starts_afresh():
    assert not flags.is_enabled("new-checkout")
    assert flags.is_enabled("of-module")

@pytest.mark.fader_flags({"new_checkout": True, "of-module": False})
def test_any_key():
    assert flags.is_enabled("new_checkout")
    assert not flags.is_enabled("of-module")

def test_fixture(fader_flags):
    assert fader_flags is flags
    with fader_flags.override("other"):
        assert flags.is_enabled("other")
    assert not flags.is_enabled("other")

@pytest.mark.fader_flags(of_class=True)
class TestClass:
    def test_class(self):
        assert flags.is_enabled("of-class")

    @pytest.mark.fader_flags(of_class=False)
    def test_nearest_wins(self):
        assert not flags.is_enabled("of-class")

def test_nobody_was_asked():
    assert flags._runtime._session is None
"""

WITHOUT = """
import sys

def test_nothing_of_the_sdk_is_loaded_by_the_plugin():
    assert "fader.client" not in sys.modules
    assert "msgspec" not in sys.modules
"""


def run_pytest(folder: Path, content: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_application.py").write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_marker_and_fixture_give_tests_their_flags(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, TESTS)
    assert ran.returncode == 0, ran.stdout
    assert "7 passed" in ran.stdout


def test_the_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    ran = run_pytest(tmp_path, WITHOUT)
    assert ran.returncode == 0, ran.stdout
