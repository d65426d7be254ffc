"""A Celery application whose one task says which process it runs in and what it sees.

As a program it sends tasks: each line on standard input, a number of processes, asks for one round of as
many, answered by one JSON line of results.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery

from fader import flags

BROKER = os.environ["FORK_TEST_BROKER"]
MEETINGS = os.environ["FORK_TEST_MEETINGS"]

app = Celery("fork_test", broker=BROKER, backend=BROKER)
app.conf.task_default_queue = os.environ["FORK_TEST_QUEUE"]
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True


@app.task(name="look")
def look(meeting: str, processes: int) -> dict[str, object]:
    """Answers once so many processes have come to the meeting, and so takes no other task before they have."""
    answer = {"pid": os.getpid(), "enabled": flags.is_enabled("toggled", "user-1")}
    Path(meeting, str(os.getpid())).touch()
    until = time.monotonic() + 20
    while len(list(Path(meeting).iterdir())) < processes and time.monotonic() < until:
        time.sleep(0.005)
    return answer


def main() -> None:
    for line in sys.stdin:
        processes = int(line)
        meeting = tempfile.mkdtemp(dir=MEETINGS)
        tasks = [look.delay(meeting, processes) for _ in range(processes)]
        answers = [each.get(timeout=30) for each in tasks]
        os.write(1, (json.dumps(answers) + "\n").encode())


if __name__ == "__main__":
    main()
else:
    # In the worker: a client that runs before the pool of processes is forked.
    flags.is_enabled("toggled")
    flags.wait_until_ready(timeout=20)
