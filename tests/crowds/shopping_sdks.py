"""Many applications whose users come and go: ``python -m crowds.shopping_sdks URL KEY COUNT USERS``.

Each is a process with a real SDK, forked from one that has imported everything, which costs little. Each records what
becomes of its users, as it is told to.
"""

import gc
import json
import os
import random
import select
import struct
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from crowds.orders import obey
from fader import Client

_READY_WITHIN: Final = 60.0
_TICK: Final = 0.1
"""Seconds between users who come together."""
_NOTE: Final = struct.Struct("=q")
"""When a user failed, who would not have before: nanoseconds of the clock that all processes share."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in each process.

    Args:
        flags: By whose keys outcomes are recorded, too.
        rate: Users in a second.
        failing: The share of users who fail.
        failing_with: The share of those with the feature who do.
    """

    flags: tuple[str, ...] = ()
    rate: float = 0.0
    failing: float = 0.0
    failing_with: float = 0.0


class Application:
    """One of them, in its own process.

    Args:
        client: Its SDK.
        users: How many there are.
        notes: Where it writes when somebody has failed because of a feature.
        seed: Of its chances.
    """

    def __init__(self, client: Client, users: int, notes: int, seed: int) -> None:
        self._client = client
        self._users = users
        self._notes = notes
        self._chance = random.Random(seed)
        self._due = 0.0

    def serve(self, orders: int) -> None:
        """Go on until there are no more orders."""
        traffic, unread = Traffic(), b""
        while True:
            if select.select([orders], [], [], _TICK)[0]:
                more = os.read(orders, 65_536)
                if not more:
                    return
                *lines, unread = (unread + more).split(b"\n")
                if lines:
                    traffic = msgspec.json.decode(lines[-1], type=Traffic)
            self._due += traffic.rate * _TICK
            while self._due >= 1:
                self._due -= 1
                self._visit(traffic, f"user-{self._chance.randrange(self._users)}")

    def _visit(self, traffic: Traffic, user: str) -> None:
        for flag in traffic.flags:
            has_it = self._client.is_enabled(flag, user)
            is_failing = self._chance.random() < (traffic.failing_with if has_it else traffic.failing)
            if is_failing and has_it and traffic.failing_with > traffic.failing:
                os.write(self._notes, _NOTE.pack(time.monotonic_ns()))
            self._client.record(flag, user, failed=is_failing)


class Applications:
    """All of them, as the first process sees them.

    Args:
        orders: Where each reads what it is to do.
        notes: Where they write.
    """

    def __init__(self, orders: Sequence[int], notes: int) -> None:
        self._orders = orders
        self._notes = notes
        self._failures: list[int] = []
        threading.Thread(target=self._read, daemon=True).start()

    def obey(self, order: dict[str, Any]) -> Any:
        """``traffic`` from now on, or the ``failures`` because of a feature since that was said."""
        if order.pop("do") == "failures":
            return sorted(self._failures)
        self._failures.clear()
        for each in self._orders:
            os.write(each, json.dumps(order).encode() + b"\n")
        return None

    def _read(self) -> None:
        while note := os.read(self._notes, _NOTE.size):
            self._failures.append(_NOTE.unpack(note)[0])


def _run(url: str, key: str, users: int, number: int, orders: int, notes: int) -> None:
    with Client(url=url, sdk_key=key, app="crowd", cache_dir=None, usage=False) as client:
        if client.wait_until_ready(_READY_WITHIN):
            Application(client, users, notes, number).serve(orders)


def main() -> None:
    """Run until there are no more orders."""
    url, key, count, users = sys.argv[1:5]
    notes, noting = os.pipe()
    orders: list[int] = []
    gc.freeze()  # so that the processes share this memory for as long as they live
    for number in range(int(count)):
        reading, writing = os.pipe()
        if os.fork() == 0:
            for other in (*orders, writing, notes):
                os.close(other)
            try:
                _run(url, key, int(users), number, reading, noting)
            finally:
                os._exit(0)
        os.close(reading)
        orders.append(writing)
    os.close(noting)
    with suppress(KeyboardInterrupt):
        obey(sys.stdin, Applications(orders, notes).obey)


if __name__ == "__main__":
    main()
