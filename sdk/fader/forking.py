"""What a client needs of the process that it lives in: to know of forks, and to be closed at the end.

After a fork the child has the client's memory but not its thread, and shares its connections. Only hooks that run in
the child are used: some servers fork in C and run no others. uWSGI by default runs none of Python's at all, but has
its own. Children of ``multiprocessing`` have their own way to end, on which ``atexit`` is not heard.
"""

import _thread
import atexit
import importlib
import os
import sys
import weakref
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Final, Protocol, TypeVar

from fader.status import logger

T = TypeVar("T")

_BEFORE_CHILDREN_ARE_JOINED: Final = 10


class Forked(Protocol):
    """What wants to know that it is in a child now."""

    def after_fork(self) -> Callable[[], None] | None:
        """Called in the child, before anything else runs there; more than once, perhaps.

        Returns:
            What remains to be done as soon as it is possible to wait, if anything does.
        """


_first: list[Callable[[], None]] = []
_known: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_endings: list[Callable[[], None]] = []
_prepared: set[str] = set()


def do_first_in_child(step: Callable[[], None]) -> None:
    """Call ``step`` in each forked child before anything is started again there."""
    _first.append(step)


def register(forked: Forked) -> None:
    """Let ``forked`` know of each fork from now on, for as long as it exists."""
    _known.add(forked)


def register_ending(ending: Callable[[], None]) -> None:
    """Call ``ending`` before the process ends, perhaps more than once: here, and in all children."""
    _endings.append(ending)
    # Runs before daemon threads are frozen, so that these can still send their last reports.
    atexit.register(ending)


def prepare_host() -> None:
    """Arrange what frameworks need beyond Python's own hooks, as far as they are there. Called when a client starts."""
    _prepare_once(
        "multiprocessing.util", lambda util: util.Finalize(None, _end, exitpriority=_BEFORE_CHILDREN_ARE_JOINED)
    )
    _prepare_once("uwsgi", _prepare_uwsgi)


def _prepare_once(module: str, prepare: Callable[[Any], object]) -> None:
    if module in sys.modules and module not in _prepared:
        _prepared.add(module)
        prepare(sys.modules[module])


def forks_without_warning() -> bool:
    """Whether this process is the master of uWSGI, or becomes it.

    It forks its workers when the application is loaded, without taking the interpreter's lock: a worker that is forked
    while a thread of ours holds it waits for it for ever. (Not with ``--py-call-osafterfork``, nor ``--lazy-apps``.)
    """
    worker_id: Any = getattr(sys.modules.get("uwsgi"), "worker_id", None)
    return worker_id is not None and bool(worker_id() == 0)


def are_threads_real() -> bool:
    """Whether threads are the system's, and not greenlets, which gevent puts in their place."""
    return isinstance(_thread.start_new_thread, BuiltinFunctionType)


def do_when_possible(remaining: list[Callable[[], None]]) -> None:
    """Do what may have to wait: now or, among greenlets, as soon as the caller waits for something itself.

    Greenlets may not wait before gevent has dealt with a fork, which it does after hooks like ours.
    """
    if are_threads_real():
        _do_now(remaining)
    elif remaining:
        _thread.start_new_thread(_do_now, (remaining,))


def _do_now(remaining: list[Callable[[], None]]) -> None:
    for rest in remaining:
        protect(rest)


def protect(step: Callable[[], T]) -> T | None:
    """Take a step of ours in the midst of something of the application's, which goes on whatever becomes of us."""
    try:
        return step()
    except Exception:  # noqa: BLE001 (see above)
        logger.exception("a client could not be restarted")
        return None


def _in_child() -> None:
    if "multiprocessing.util" in sys.modules:
        # In its children it forgets, soon after this, what is to be done at the end, and then calls this.
        util: Any = sys.modules["multiprocessing.util"]
        util.register_after_fork(_remember, _remember)
    for step in _first:
        protect(step)
    do_when_possible([rest for forked in list(_known) if (rest := protect(forked.after_fork)) is not None])


def _remember(_: object) -> None:
    _prepared.discard("multiprocessing.util")
    prepare_host()


def _end() -> None:
    for ending in _endings:
        ending()


def _prepare_uwsgi(uwsgi: Any) -> None:
    if not any(name in uwsgi.opt for name in ("enable-threads", "threads")):
        logger.warning("uWSGI runs without --enable-threads, so that flags cannot be followed: please set it")
    try:
        # The list that its decorator keeps: an application that uses it too would replace a hook of our own.
        importlib.import_module("uwsgidecorators").postfork(_in_child)
    except Exception:  # noqa: BLE001 (it raises just that where there is no master process, and hence no fork)
        earlier = getattr(uwsgi, "post_fork_hook", None)
        uwsgi.post_fork_hook = lambda: [hook() for hook in (earlier, _in_child) if hook is not None]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
