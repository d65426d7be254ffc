"""The clock of one process, set wrong while it runs: the time that Python reads, with ``time.monotonic`` left alone, as
when somebody or NTP sets the clock of a host."""

import shutil
from pathlib import Path
from typing import Final

from processes import wait_for

_ORDER: Final = "clock-step"

_BEFORE_THE_PROGRAM: Final = f'''"""Python imports this before a program begins. A number of seconds in a file of the
working directory sets this process's clock, once; the file is removed then."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import time_machine

ORDER = Path.cwd() / "{_ORDER}"
clock = time_machine.travel(datetime.now(UTC), tick=True).start()


def obey():
    while True:
        time.sleep(0.01)
        if ORDER.exists():
            clock.shift(float(ORDER.read_text()))
            ORDER.unlink()


threading.Thread(target=obey, daemon=True).start()
'''


def adjustable(folder: Path) -> dict[str, str]:
    """Variables for processes whose clocks can be set.

    Args:
        folder: A folder for what makes them so.
    """
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(_BEFORE_THE_PROGRAM)
    return {"PYTHONPATH": str(folder)}


def step(process: Path, seconds: float) -> None:
    """Set the clock of a process, and wait until it is set.

    Args:
        process: Its working directory.
        seconds: How far forward; back if negative.
    """
    written = process / f"{_ORDER}.new"
    written.write_text(str(seconds))
    shutil.move(written, process / _ORDER)
    wait_for(lambda: not (process / _ORDER).exists(), "the clock to be set")
