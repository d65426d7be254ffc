"""Jobs beside the application: on few threads, of which few wait, and in forked children too."""

import gc
import os
import threading
import weakref

from fader.background import MOST_RUNNING, MOST_WAITING, Background
from processes import wait_for


def test_jobs_are_done_on_other_threads_whatever_they_raise() -> None:
    background = Background()
    threads: list[int] = []

    def job() -> None:
        threads.append(threading.get_ident())
        raise SystemExit(1)

    for number in range(20):
        assert background.submit(job)
        wait_for(lambda number=number: len(threads) > number, "the job to be done")
    assert threading.get_ident() not in threads


def test_there_are_no_more_threads_and_waiting_jobs_than_there_may_be() -> None:
    background, gate = Background(), threading.Event()
    running: list[str] = []

    def job() -> None:
        running.append(threading.current_thread().name)
        gate.wait()

    try:
        accepted = sum(background.submit(job) for _ in range(MOST_RUNNING + MOST_WAITING + 50))
        wait_for(lambda: len(running) == MOST_RUNNING, "all threads to be busy")
        assert MOST_WAITING <= accepted <= MOST_RUNNING + MOST_WAITING
        while background.submit(job):
            accepted += 1
        assert accepted == MOST_RUNNING + MOST_WAITING
        assert len(running) == MOST_RUNNING
    finally:
        gate.set()
    wait_for(lambda: len(running) == accepted, "those that have waited to be done")
    assert background.submit(gate.set)


def test_what_a_job_works_on_is_not_kept() -> None:
    class Large:
        """Something."""

    background, done = Background(), threading.Event()
    large = Large()
    gone = weakref.ref(large)
    background.submit(lambda _large=large: done.set())
    del large
    assert done.wait(10)
    wait_for(lambda: gc.collect() is not None and gone() is None, "it to be forgotten")


def test_threads_end_with_who_has_handed_the_jobs_in() -> None:
    background, found = Background(), list[threading.Thread]()
    background.submit(lambda: found.append(threading.current_thread()))
    wait_for(lambda: found, "the job to be done")
    del background
    gc.collect()
    wait_for(lambda: not found[0].is_alive(), "the thread to end")


def test_a_forked_child_has_threads_of_its_own_and_none_of_its_parents_jobs() -> None:
    background, gate = Background(), threading.Event()
    reading, writing = os.pipe()
    try:
        for _ in range(MOST_RUNNING + MOST_WAITING):
            background.submit(gate.wait)
        child = os.fork()
        if not child:
            try:
                done = threading.Event()
                is_accepted = background.submit(done.set)
                os.write(writing, b"done" if is_accepted and done.wait(10) else b"fail")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 4) == b"done"
    finally:
        gate.set()
        os.close(reading)
        os.close(writing)
