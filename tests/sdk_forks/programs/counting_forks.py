"""Counts evaluations before, in and after forks: ``counting_forks.py <how children end>``."""

import os
import sys
import time

from fader import flags

BEFORE, AFTER, IN_CHILD, CHILDREN = 10, 7, 5, 3


def count(key: str, times: int) -> None:
    for _ in range(times):
        flags.is_enabled(key, "user-1")


def main() -> None:
    ending = sys.argv[1]
    # Evaluations are counted from the first flags on, so the first one comes after them.
    assert flags.wait_until_ready(timeout=20)
    count("of-parent", BEFORE)
    for number in range(CHILDREN):
        if os.fork() == 0:
            count(f"of-child-{number}", IN_CHILD)
            if ending == "close":
                flags.close()
            if ending in ("close", "no exit handlers"):
                os._exit(0)
            sys.exit(0)
    count("of-parent", AFTER)
    for _ in range(CHILDREN):
        assert os.wait()[1] == 0
    time.sleep(0)


if __name__ == "__main__":
    main()
