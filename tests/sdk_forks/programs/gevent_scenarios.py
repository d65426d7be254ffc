"""gevent and fork in every order: ``gevent_scenarios.py <scenario>``. gevent replaces threads by greenlets, which a
fork copies, while it copies no thread but one.

After patching, each process says how many real threads it has (``{"threads": n}``).
"""

import json
import os
import sys
import time

SCENARIO = sys.argv[1]


def patch() -> None:
    from gevent import monkey

    monkey.patch_all()
    # Counted by the interpreter: what `threading` knows is patched.
    os.write(1, (json.dumps({"threads": len(sys._current_frames())}) + "\n").encode())


if SCENARIO == "patched before everything":
    patch()
elif "imported" not in SCENARIO:
    import gevent.monkey  # noqa: F401  # as pre-fork servers do, which look at the class of workers first

from reporting import be_ready, watch  # noqa: E402  # patching comes first where it comes first in applications


def main() -> None:
    be_ready()
    if SCENARIO in ("patched after the client has started", "imported and patched after the client has started"):
        patch()
    if os.fork() == 0:
        if SCENARIO in ("patched in the child", "imported and patched in the child"):
            patch()
        time.sleep(0)
        watch("child")
    os.write(1, (json.dumps({"processes": 2}) + "\n").encode())
    watch("parent")


if __name__ == "__main__":
    main()
