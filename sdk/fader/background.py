"""Work beside the application: on a few threads, with a few pieces of work that wait, and no more.

Threads are started when there is something to do. They are daemons: nothing here keeps a process from ending.
"""

import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from fader.forking import are_threads_real

Job: TypeAlias = Callable[[], object]

MOST_RUNNING: Final = 4
"""Threads."""
MOST_WAITING: Final = 64
"""Jobs, each of which keeps alive what it works on."""


class Background:
    """Does jobs on threads of its own. It may be handed jobs by all threads, and goes on in forked children, without
    the jobs of their parents."""

    def __init__(self) -> None:
        self._threads: _Threads | None = None

    def submit(self, job: Job) -> bool:
        """Have a job done soon. What it raises is nobody's business.

        Returns:
            Whether it will be. Not if too many are waiting already.
        """
        threads = self._threads
        if threads is None or not threads.are_ours():
            threads = self._threads = _Threads()
            weakref.finalize(self, threads.end).atexit = False
        return threads.submit(job)


class _Threads:
    """The threads of one process: after a fork they are not there, and once gevent has patched they are not what they
    were."""

    def __init__(self) -> None:
        self._kind = (os.getpid(), are_threads_real())
        # By the module's name: gevent puts another class there, whose ``get`` lets other greenlets run.
        self._jobs: Any = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._number = 0

    def are_ours(self) -> bool:
        """Whether they are of this process, and of the kind that threads are now."""
        return self._kind == (os.getpid(), are_threads_real())

    def submit(self, job: Job) -> bool:
        """As ``Background.submit``."""
        # Several threads that find the last place free may all take it: a few jobs too many do no harm.
        if self._jobs.qsize() >= MOST_WAITING or not (self._number or self._start_one()):
            return False
        self._jobs.put(job)
        if self._number < MOST_RUNNING and self._jobs.qsize() > 1:
            self._start_one()
        return True

    def end(self) -> None:
        """Let them end when they have done what is waiting."""
        for _ in range(self._number):
            self._jobs.put(None)

    def _start_one(self) -> bool:
        """Start a thread, unless another one is just being started; returns whether there is any."""
        if self._starting.acquire(blocking=False):
            try:
                if self._number < MOST_RUNNING:
                    # What runs there must not keep alive whoever has handed in the jobs.
                    threading.Thread(target=_work, args=(self._jobs,), name="fader-background", daemon=True).start()
                    self._number += 1
            except RuntimeError:
                pass  # the system has no more threads, or the interpreter is at its end
            finally:
                self._starting.release()
        return self._number > 0


def _work(jobs: Any) -> None:
    while (job := jobs.get()) is not None:
        with contextlib.suppress(BaseException):
            job()
        del job  # and what it works on, while this waits for the next
