"""Counts evaluations before and after gevent patches the process that they are made in."""

from gevent import monkey

from fader import flags


def count(times: int) -> None:
    for _ in range(times):
        flags.is_enabled("of-parent", "user-1")


def main() -> None:
    assert flags.wait_until_ready(timeout=20)
    count(10)
    monkey.patch_all()
    count(7)
    assert flags.wait_until_ready(timeout=20)


if __name__ == "__main__":
    main()
