"""A Celery application whose one task says which process it runs in and what it sees.

As a program it sends tasks: each line on standard input asks for one round, answered by one JSON line of
results.
"""

import json
import os
import sys
import time

from celery import Celery

from fader import flags

FOLDER = os.environ["FORK_TEST_FOLDER"]

app = Celery("fork_test", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
    "polling_interval": 0.02,
}
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True


@app.task(name="look")
def look() -> dict[str, object]:
    # Busy for a moment, so that the next task goes to another process.
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass
    return {"pid": os.getpid(), "enabled": flags.is_enabled("toggled", "user-1")}


def main() -> None:
    for _ in sys.stdin:
        rounds = [look.delay() for _ in range(6)]
        answers = [each.get(timeout=30, interval=0.01) for each in rounds]
        os.write(1, (json.dumps(answers) + "\n").encode())


if __name__ == "__main__":
    main()
else:
    # In the worker: a client that runs before the pool of processes is forked.
    flags.is_enabled("toggled")
    flags.wait_until_ready(timeout=20)
