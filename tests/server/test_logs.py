"""What is written of failures: where they happened, and no secret that was at hand there."""

import subprocess
import sys

import pytest

FAILING = """
import logging, os
from fader_server.logs import logger, set_up_logs
from fader_server.settings import read_settings

def answer(token):
    raise RuntimeError("unheard of")

set_up_logs(read_settings())
for log in (logger("fader_server.one"), logging.getLogger("fader_server.two")):
    try:
        answer("fader_" + "planted" * 3)
    except RuntimeError:
        log.exception("it failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_hold_no_values(form: str) -> None:
    environment = {"FADER_LOG_FORMAT": form, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", FAILING], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.count("it failed") == 2
    assert done.stdout.count("unheard of") == 2
    assert "answer" in done.stdout
    assert "plantedplanted" not in done.stdout + done.stderr
