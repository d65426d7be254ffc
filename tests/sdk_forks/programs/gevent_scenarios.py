"""gevent and fork in every order: ``gevent_scenarios.py <scenario>``. gevent replaces threads by greenlets, which a
fork copies, while it copies no thread but one."""

import json
import os
import sys
import time

from gevent import monkey

SCENARIO = sys.argv[1]

if SCENARIO == "patched before everything":
    monkey.patch_all()

from reporting import be_ready, watch  # noqa: E402  # patching comes first where it comes first in applications


def main() -> None:
    be_ready()
    if SCENARIO == "patched after the client has started":
        monkey.patch_all()
    if os.fork() == 0:
        if SCENARIO == "patched in the child":
            monkey.patch_all()
        time.sleep(0)
        watch("child")
    os.write(1, (json.dumps({"processes": 2}) + "\n").encode())
    watch("parent")


if __name__ == "__main__":
    main()
