"""What a serving process does without, because nobody there uses it."""

import subprocess
import sys

import pytest


def _prints(program: str) -> str:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.strip()


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_serving_loads_neither_an_orm_nor_a_library_for_terminals(command: str) -> None:
    program = (
        f"import sys, fader_server.commands.{command}, fader_server.serving, fader_server.bus.redis_bus;"
        "print(sorted({'rich', 'sqlalchemy', 'sqlalchemy.orm', 'structlog'} & set(sys.modules)))"
    )
    assert _prints(program) == "['sqlalchemy', 'structlog']"


def test_a_server_loads_no_models_of_other_libraries() -> None:
    program = (
        "import sys; from fader_server.app import create_app; from fader_server.settings import read_settings;"
        "create_app(read_settings({})); import pydantic;"
        "print('litestar.plugins.pydantic' in sys.modules, pydantic.__name__)"
    )
    assert _prints(program) == "False pydantic"


def test_whoever_else_wants_them_finds_them() -> None:
    assert _prints("import fader_server.lean, rich, sqlalchemy.orm; print(rich.__name__)") == "rich"
    assert _prints("import rich, fader_server.lean; print(rich is __import__('sys').modules['rich'])") == "True"
