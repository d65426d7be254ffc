"""``fader-server worker``: how ``serve`` starts each of several processes. Nobody else has a use for it."""

import os
import signal
import socket
import sys
import threading
import time
from typing import Final

import fader_server.lean  # noqa: F401 - comes before what it makes lean
from fader_server import serving
from fader_server.logs import set_up_logs
from fader_server.settings import Settings
from fader_server.workers.link import Link

_MARGIN_SECONDS: Final = 5.0


def work(settings: Settings, *, number: int, workers: int, link: int, listening: int) -> int:
    """Serve until a signal, or the end of the parent, ends it.

    Args:
        settings: What the parent has been told, too.
        number: Which worker this is, from 1.
        workers: How many there are.
        link: The descriptor of the socket that leads to the parent.
        listening: That of the socket at which clients connect.
    """
    _end_with_the_parent(settings.shutdown_seconds)
    set_up_logs(settings, worker=number)
    for inherited in (link, listening):
        os.set_inheritable(inherited, False)
    serving.serve_at(socket.socket(fileno=listening), settings, Link(number, workers, socket.socket(fileno=link)))
    return 0


def _end_with_the_parent(seconds: float) -> None:
    """Nobody would find a worker whose parent was killed, and it would keep the address. Standard input is a pipe into
    which the parent writes nothing: it ends with it. A thread watches it, which also runs if all else hangs."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds + _MARGIN_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="watches-parent", daemon=True).start()
