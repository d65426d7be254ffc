"""A request so many times a second, whatever becomes of those before it: ``python -m crowds.steady_requests URL RATE``.

Each is due at a moment that was fixed beforehand, and its time counts from that moment: a server that stops for a
second is late for all requests that were due in it, not for one.
"""

import os
import socket
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from crowds.orders import obey

_PATIENCE = 30.0


class Asking:
    """Asks on one connection, on a thread of its own, until the process ends."""

    def __init__(self, url: str, rate: float) -> None:
        address = urlsplit(url)
        self._connection = socket.create_connection((address.hostname, address.port), _PATIENCE)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
        self._interval = round(1e9 / rate)
        self._times: list[tuple[int, int, int]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def collect(self) -> list[tuple[int, int, int]]:
        """Of each request since the last call: when it was due, when it was sent, when it was answered; nanoseconds."""
        times, self._times = self._times, []
        return times

    def _run(self) -> None:
        due = time.monotonic_ns()
        while True:
            due += self._interval
            if (left := due - time.monotonic_ns()) > 0:
                time.sleep(left / 1e9)
            sent = time.monotonic_ns()
            try:
                self._ask()
            except (OSError, ValueError) as error:
                print(f"{error!r}; nothing is asked any more", file=sys.stderr, flush=True)
                os._exit(1)
            self._times.append((due, sent, time.monotonic_ns()))

    def _ask(self) -> None:
        self._connection.sendall(self._request)
        answer = b""
        while not _is_whole(answer):
            more = self._connection.recv(65_536)
            if not more:
                raise ConnectionError("the server closed the connection")
            answer += more
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise ValueError(answer)


def _is_whole(answer: bytes) -> bool:
    head, mark, body = answer.partition(b"\r\n\r\n")
    if not mark:
        return False
    _, _, length = head.lower().partition(b"\r\ncontent-length: ")
    return len(body) >= int(length.partition(b"\r\n")[0])


def main() -> None:
    """Run until there are no more orders."""
    url, rate = sys.argv[1:3]
    asking = Asking(url, float(rate))

    def carry_out(order: dict[str, Any]) -> Any:
        del order
        return asking.collect()

    obey(sys.stdin, carry_out)


if __name__ == "__main__":
    main()
