"""Records outcomes before, in and after forks: ``recording_forks.py <how children end>``."""

import os
import sys

from fader import flags

CHILDREN = 3


def record(*users: str) -> None:
    for user in users:
        flags.record("payment", user, value=1.0)


def main() -> None:
    ending = sys.argv[1]
    flags.record("payment", "nobody watches yet")  # starts the client
    assert flags.wait_until_ready(timeout=20)
    record("before-1", "before-2")
    for number in range(CHILDREN):
        if os.fork() == 0:
            record(f"child-{number}", "shared")
            if ending == "close":
                flags.close()
                os._exit(0)
            sys.exit(0)
    record("after")
    for _ in range(CHILDREN):
        assert os.wait()[1] == 0


if __name__ == "__main__":
    main()
