"""Which clients of others there are here, and how each is started."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from services.node import node_command
from services.python_packages import python_command

_PROGRAMS: Final = Path(__file__).parent / "programs"
_PINS: Final = Path(__file__).parent / "pins"

Command = tuple[list[str], dict[str, str]]
"""A command line, and the variables that it needs."""

NODE: Final = "unleash-client 6.12.1"
PYTHON: Final = "UnleashClient 6.9.1"
OLD_PYTHON: Final = "UnleashClient 5.12.5"
BROWSER: Final = "unleash-proxy-client 3.8.2"
OFREP_NODE: Final = "@openfeature/ofrep-provider 0.1.3"
OFREP_BROWSER: Final = "@openfeature/ofrep-web-provider 0.4.3"
OFREP_PYTHON: Final = "openfeature-provider-ofrep 0.3.0"


def _node(program: str, *arguments: str) -> Command:
    command, variables = node_command(_PROGRAMS / program)
    return [*command, *arguments], variables


def _python(program: str, pins: str, *arguments: str) -> Command:
    command, variables = python_command(_PROGRAMS / program, _PINS / pins)
    return [*command, *arguments], variables


COMMANDS: Final[Mapping[str, Callable[[], Command]]] = {
    NODE: partial(_node, "unleash_client.cjs"),
    PYTHON: partial(_python, "unleash_sdk.py", "unleash-python-6.txt", "6"),
    OLD_PYTHON: partial(_python, "unleash_sdk.py", "unleash-python-5.txt", "5"),
    BROWSER: partial(_node, "frontend_client.cjs"),
    OFREP_NODE: partial(_node, "ofrep_client.cjs", "server"),
    OFREP_BROWSER: partial(_node, "ofrep_client.cjs", "web"),
    OFREP_PYTHON: partial(_python, "ofrep_sdk.py", "ofrep-python.txt"),
}
"""By a client's name: what gives its command line and its variables, and installs it the first time."""
