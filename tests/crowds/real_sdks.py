"""Many applications, each a process with a real SDK: ``python -m crowds.real_sdks URL KEY FLAG COUNT``.

They are forked from one process that has imported everything, which costs little, and each makes its client afterwards,
as the workers of a web server do. Each asks ``is_enabled`` when its client says that something has changed, and notes
when it had which answer.
"""

import gc
import os
import struct
import sys
import threading
import time
from typing import Any, Final

from crowds.orders import obey
from fader import Client

_READY_WITHIN: Final = 60.0
_NOTE: Final = struct.Struct("=iq?")
"""Which process, when (nanoseconds of the clock that all processes share), and what the flag was."""


class Applications:
    """All of them, as the first process sees them.

    Args:
        count: How many there are.
        notes: Where they write.
    """

    def __init__(self, count: int, notes: int) -> None:
        self._count = count
        self._notes = notes
        self._latest: dict[int, tuple[int, bool]] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def all_are(self, is_on: bool, patience: float) -> dict[str, Any]:
        """Wait until all evaluate the flag to this, and say when each first did."""
        with self._changed:
            self._changed.wait_for(lambda: self._agreeing(is_on) == self._count, patience)
            return {"times": sorted(at for at, seen in self._latest.values() if seen is is_on)}

    def _agreeing(self, is_on: bool) -> int:
        return sum(seen is is_on for _, seen in self._latest.values())

    def _read(self) -> None:
        unread = b""
        while more := os.read(self._notes, 65_536):
            unread += more
            whole = len(unread) - len(unread) % _NOTE.size
            with self._changed:
                for number, at, is_on in _NOTE.iter_unpack(unread[:whole]):
                    if number not in self._latest or self._latest[number][1] is not is_on:
                        self._latest[number] = at, is_on
                self._changed.notify_all()
            unread = unread[whole:]


def _run(url: str, key: str, flag: str, number: int, notes: int, life: int) -> None:
    """Be one application, until the first process has ended."""
    with Client(url=url, sdk_key=key, app="crowd", cache_dir=None, usage=False) as client:

        def note(_: object = None) -> None:
            is_on = client.is_enabled(flag, "user-42")
            os.write(notes, _NOTE.pack(number, time.monotonic_ns(), is_on))

        client.on_change(note)
        if client.wait_until_ready(_READY_WITHIN):
            note()
            os.read(life, 1)


def main() -> None:
    """Run until there are no more orders."""
    url, key, flag, count = sys.argv[1:5]
    notes, noting = os.pipe()
    life, living = os.pipe()
    gc.freeze()  # so that the processes share this memory for as long as they live
    for number in range(int(count)):
        if os.fork() == 0:
            os.close(living)
            os.close(notes)
            try:
                _run(url, key, flag, number, noting, life)
            finally:
                os._exit(0)
    os.close(noting)
    applications = Applications(int(count), notes)
    obey(sys.stdin, lambda order: applications.all_are(order["is_on"], order["patience"]))


if __name__ == "__main__":
    main()
