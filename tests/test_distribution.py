"""What `pip install fader` brings into somebody else's application: as little as possible, and nothing by accident."""

import importlib.metadata
import json
import subprocess
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SDK_DEPENDENCIES = {"mmh3", "msgspec", "urllib3"}

LOADED_BY_A_CLIENT = """
import json, sys
before = set(sys.modules)
import fader
client = fader.Client(url="http://127.0.0.1:9", sdk_key="default:production.secret", cache_dir=None)
client.is_enabled("new-checkout", fader.Context("user-42", country="DE", app_version="3.2.1"))
client.close()
top_level = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps(sorted(top_level - sys.stdlib_module_names)))
"""


def _required(distribution: str) -> set[str]:
    """All distributions that come along with this one when no extra is asked for."""
    found: set[str] = set()
    for text in importlib.metadata.requires(distribution) or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            name = canonicalize_name(requirement.name)
            found |= {name} | _required(name)
    return found


def test_a_plain_install_brings_the_sdk_and_three_small_dependencies() -> None:
    assert _required("fader") == SDK_DEPENDENCIES


def test_a_running_client_imports_nothing_beyond_them() -> None:
    command = [sys.executable, "-c", LOADED_BY_A_CLIENT]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    loaded = set(json.loads(ran.stdout))
    assert "fader" in loaded
    # Finders of editable installs are not part of what users get; msgspec takes typing_extensions where it is, and
    # gevent, where it is, brings zope.event, by which it tells clients what it is about to do to them.
    ours = {name for name in loaded - {"typing_extensions", "zope"} if not name.startswith(("_editable", "__editable"))}
    assert ours == SDK_DEPENDENCIES | {"fader"}


def test_the_extras_are_the_documented_ones() -> None:
    extras = importlib.metadata.metadata("fader").get_all("Provides-Extra")
    assert set(extras or []) == {"all", "cli", "openfeature", "otel", "regex", "server"}
