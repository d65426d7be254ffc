"""Counts evaluations in the children of ``multiprocessing``, which end without exit handlers of ``atexit``."""

import multiprocessing
import sys

from fader import flags


def count(number: int) -> None:
    assert flags.wait_until_ready(timeout=20)
    for _ in range(5):
        flags.is_enabled(f"of-child-{number}", "user-1")


def main() -> None:
    assert flags.wait_until_ready(timeout=20)
    for _ in range(17):
        flags.is_enabled("of-parent", "user-1")
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=count, args=(number,)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()


if __name__ == "__main__":
    main()
