"""What every process of every program of the fork matrix does: watch one flag and report what it sees.

A report is one JSON line on standard output: ``{"role", "pid", "enabled"}``, written whenever the answer
changes, in one ``write`` so that the lines of several processes do not mix.
"""

import json
import os
import time

from fader import flags

FLAG = "toggled"


def report(role: str, enabled: bool) -> None:
    os.write(1, (json.dumps({"role": role, "pid": os.getpid(), "enabled": enabled}) + "\n").encode())


def watch(role: str) -> None:
    """Report each change of the flag until the process is killed, as the test does in the end."""
    last: bool | None = None
    while True:
        now = flags.is_enabled(FLAG, "user-1")
        if now is not last:
            report(role, now)
            last = now
        time.sleep(0.005)


def be_ready() -> None:
    """Have a running client in this process, with data, before anything is forked."""
    flags.is_enabled(FLAG)
    assert flags.wait_until_ready(timeout=20)
