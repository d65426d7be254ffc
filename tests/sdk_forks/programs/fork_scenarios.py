"""Programs that fork in every way Python has, one for each scenario: ``fork_scenarios.py <scenario>``.

Each makes its children, says how many processes there are now (``{"processes": n}``), and watches the flag in
all.
"""

import gc
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import fader
from reporting import be_ready, watch

SCENARIOS: dict[str, Callable[[], int]] = {}
LOCKS = (type(threading.Lock()), type(threading.RLock()))


def scenario(make: Callable[[], int]) -> Callable[[], int]:
    """Registers a function that makes children and returns how many."""
    SCENARIOS[make.__name__] = make
    return make


def child(role: str = "child") -> None:
    """Fork; the child watches and never returns."""
    if os.fork() == 0:
        try:
            watch(role)
        finally:
            os._exit(1)


@scenario
def plain_fork() -> int:
    be_ready()
    child()
    return 1


@scenario
def fork_before_any_client() -> int:
    child()
    return 1


@scenario
def twenty_children_in_a_loop() -> int:
    be_ready()
    for _ in range(20):
        child()
    return 20


@scenario
def double_fork() -> int:
    """As daemons are made: the child in between is gone at once."""
    be_ready()
    if os.fork() == 0:
        os.setsid()
        child("grandchild")
        os._exit(0)
    os.wait()
    return 1


@scenario
def three_generations() -> int:
    """Each generation has a running client of its own when it makes the next."""
    be_ready()
    if os.fork() == 0:
        be_ready()
        if os.fork() == 0:
            be_ready()
            child("great-grandchild")
            watch("grandchild")
        watch("child")
    return 3


@scenario
def fork_in_a_thread() -> int:
    be_ready()
    thread = threading.Thread(target=child)
    thread.start()
    thread.join()
    return 1


@scenario
def fork_while_threads_evaluate() -> int:
    be_ready()

    def evaluate() -> None:
        while True:
            fader.flags.is_enabled("toggled", "user-2")
            fader.flags.evaluate("no-such-flag", "user-2", default=False)

    for _ in range(3):
        threading.Thread(target=evaluate, daemon=True).start()
    for _ in range(5):
        child()
    return 5


@scenario
def fork_while_the_client_starts() -> int:
    """The client's thread is importing, connecting or reading: whatever it holds, the child must not wait for
    it."""
    fader.flags.is_enabled("toggled")
    pauses = (0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08)
    for pause in pauses:
        time.sleep(pause)
        child(f"{pause} s later")
    return len(pauses)


@scenario
def fork_while_an_import_is_going_on() -> int:
    be_ready()
    importing = threading.Event()
    sys.fork_test_event = importing  # type: ignore[attr-defined]
    folder = tempfile.mkdtemp()
    Path(folder, "slow_to_import.py").write_text(
        "import sys, time\nsys.fork_test_event.set()\ntime.sleep(1)\n", encoding="utf-8"
    )
    sys.path.insert(0, folder)
    thread = threading.Thread(target=__import__, args=("slow_to_import",))
    thread.start()
    importing.wait()
    child()
    thread.join()
    return 1


@scenario
def fork_while_a_log_call_is_going_on() -> int:
    """A handler that is stuck in the middle of a line, as when the terminal does not take it."""
    logging_now, go_on = threading.Event(), threading.Event()
    owner = os.getpid()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "stuck" and os.getpid() == owner:
                logging_now.set()
                go_on.wait()

    be_ready()
    logging.getLogger().addHandler(Slow())
    thread = threading.Thread(target=logging.getLogger("fader").error, args=("stuck",))
    thread.start()
    logging_now.wait()
    pid = os.fork()
    if pid == 0:
        # Something that the SDK has a line to say about.
        fader.flags.value("no-such-flag", "user-1", default=1)
        watch("child")
    go_on.set()
    thread.join()
    return 1


def parts_of(thing: Any) -> dict[str, Any]:
    """What an object of the SDK, or a container or a lock within it, holds."""
    if isinstance(thing, dict):
        return {str(key): value for key, value in list(thing.items())[:1000]}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return {str(index): value for index, value in enumerate(list(thing)[:1000])}
    if type(thing).__module__.split(".")[0] not in ("fader", "threading", "queue"):
        return {}
    slots = [slot for base in type(thing).__mro__ for slot in vars(base).get("__slots__", ())]
    return {name: getattr(thing, name, None) for name in (*getattr(thing, "__dict__", {}), *slots)}


def locks_of_the_sdk() -> dict[str, Any]:
    """Every lock that is reachable from the SDK's modules and objects, by the way to it."""
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "fader"}
    pending: list[tuple[str, Any]] = [
        (f"{name}.{key}", value) for name, module in modules.items() for key, value in vars(module).items()
    ]
    pending += [(type(thing).__name__, thing) for thing in gc.get_objects() if type(thing).__module__ in modules]
    found, seen = {}, set()
    while pending:
        name, thing = pending.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType)):
            continue
        seen.add(id(thing))
        if isinstance(thing, LOCKS):
            found[name] = thing
        else:
            pending += [(f"{name}.{key}", part) for key, part in parts_of(thing).items()]
    return found


@scenario
def fork_while_another_thread_holds_a_lock_of_the_sdk() -> int:
    """One child for each lock. A lock that is held for ever is what a child inherits when its holder is not
    copied."""
    be_ready()
    fader.flags.value("no-such-flag", "user-1", default=1)
    found = locks_of_the_sdk()
    for name, lock in found.items():
        held, forked = threading.Event(), threading.Event()

        def hold(lock: Any = lock, held: threading.Event = held, forked: threading.Event = forked) -> None:
            if lock.acquire(timeout=0.2):
                held.set()
                # Not for ever: an SDK may want the lock itself before it lets a fork happen.
                forked.wait(0.5)
                lock.release()
            held.set()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child(f"with {name} held")
        forked.set()
        thread.join()
    return len(found)


@scenario
def multiprocessing_fork() -> int:
    return multiprocessing_children("fork")


@scenario
def multiprocessing_forkserver() -> int:
    return multiprocessing_children("forkserver")


@scenario
def multiprocessing_spawn() -> int:
    return multiprocessing_children("spawn")


def multiprocessing_children(method: str) -> int:
    be_ready()
    context = multiprocessing.get_context(method)
    for _ in range(3):
        context.Process(target=watch, args=("child",), daemon=True).start()
    return 3


@scenario
def pool_of_processes() -> int:
    be_ready()
    executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    for _ in range(2):
        executor.submit(watch, "child")
    return 2


@scenario
def subprocess_with_the_same_environment() -> int:
    be_ready()
    subprocess.Popen([sys.executable, __file__, "only_watch"])
    return 1


@scenario
def children_of_a_closed_client() -> int:
    """Closing in the parent, as a pre-fork server's hook may do, is no reason for its children to be left
    behind."""
    client = fader.Client()
    client.wait_until_ready(timeout=20)
    client.close()
    be_ready()
    child()
    return 1


def main() -> None:
    name = sys.argv[1]
    if name == "only_watch":
        watch("child")
    logging.basicConfig(level=logging.WARNING)
    made = SCENARIOS[name]()
    os.write(1, (json.dumps({"processes": made + 1}) + "\n").encode())
    watch("parent")


if __name__ == "__main__":
    main()
