"""Flags in the tests of applications, for pytest: the fixture ``fader_flags`` and the marker of the same name.

Both let the default client, ``fader.flags``, know only the flags that the test gives, so that no test reaches for a
server. pytest loads this module into every run of everybody who has Fader installed: it imports nothing of the SDK
until a test asks for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fader import Client

_MARKER = "fader_flags"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for ``--strict-markers`` and ``--markers``."""
    config.addinivalue_line(
        "markers",
        'fader_flags({"new-checkout": True}, **flags): let the default client of Fader know these flags and no '
        "others; in names given as keywords, underscores stand for hyphens",
    )


@pytest.fixture
def fader_flags(request: pytest.FixtureRequest) -> "Iterator[Client]":
    """The default client, ``fader.flags``, knowing only the flags that the test's ``fader_flags`` markers name.

    Use its ``override`` to give flags values inside the test.
    """
    from fader import flags
    from fader.testing import isolated

    with isolated(_marked(request.node)):
        yield flags


@pytest.fixture(autouse=True)
def _fader_flags_of_marker(request: pytest.FixtureRequest) -> None:
    """Make the marker work without the fixture."""
    if request.node.get_closest_marker(_MARKER) is not None:
        request.getfixturevalue("fader_flags")


def _marked(node: pytest.Item) -> dict[str, Any]:
    """The flags that a test is marked with; its own marker wins over its class's, and that over its module's."""
    wanted: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(_MARKER))):
        for flags in marker.args:
            wanted |= flags
        wanted |= {name.replace("_", "-"): value for name, value in marker.kwargs.items()}
    return wanted
