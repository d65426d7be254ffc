"""An application that evaluates flags all the time: ``python -m crowds.evaluating_sdk URL KEY FLAG DEFAULT``.

A real client, its daemon thread and all. Each answer is timed, and checked: a default that is served is an answer that
was not there.
"""

import statistics
import sys
import threading
import time
from typing import Any, Final

from crowds.orders import obey
from fader import Client

_PAUSE: Final = 0.002  # seconds; an application that has something else to do as well
_WITHIN: Final = 30.0


class Evaluating:
    """Evaluates a flag on a thread of its own, until the process ends."""

    def __init__(self, client: Client, flag: str, default: str) -> None:
        self._client, self._flag, self._default = client, flag, default
        self._took: list[int] = []
        self._wrong = 0
        threading.Thread(target=self._run, daemon=True).start()

    def mark(self) -> None:
        """Count from now on."""
        self._took, self._wrong = [], 0

    def report(self) -> dict[str, Any]:
        """Times in microseconds."""
        took = self._took[:]
        cuts = statistics.quantiles(took, n=1000) if len(took) > 1 else [0] * 999
        return {
            "evaluations": len(took),
            "wrong": self._wrong,
            "p50": cuts[499] / 1000,
            "p99": cuts[989] / 1000,
            "max": max(took, default=0) / 1000,
            "revision": self._client.revision,
        }

    def _run(self) -> None:
        while True:
            began = time.perf_counter_ns()
            value = self._client.value(self._flag, self._default, "user-42")
            self._took.append(time.perf_counter_ns() - began)
            self._wrong += value == self._default
            time.sleep(_PAUSE)


def main() -> None:
    """Run until there are no more orders."""
    url, key, flag, default = sys.argv[1:5]
    with Client(url=url, sdk_key=key, cache_dir=None) as client:
        if not client.wait_until_ready(_WITHIN):
            raise SystemExit("the client cannot reach the server")
        evaluating = Evaluating(client, flag, default)

        def carry_out(order: dict[str, Any]) -> Any:
            if order["do"] == "mark":
                evaluating.mark()
            return evaluating.report()

        obey(sys.stdin, carry_out)


if __name__ == "__main__":
    main()
