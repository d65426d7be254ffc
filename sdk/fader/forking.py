"""What a client needs after a fork: the child has its memory, but not its thread, and shares its connections.

Only hooks that run in the child are used: some servers fork in C and run no others. uWSGI by default runs none of
Python's at all, but has its own.
"""

import importlib
import os
import sys
import weakref
from typing import Any, Protocol

from fader.status import logger


class Forked(Protocol):
    """What wants to know that it is in a child now."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there. Must do nothing if it was called before."""


_known: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_told_uwsgi = False


def register(forked: Forked) -> None:
    """Let ``forked`` know of each fork from now on, for as long as it exists."""
    _known.add(forked)


def _in_child() -> None:
    for forked in list(_known):
        try:
            forked.after_fork()
        except Exception:  # noqa: BLE001 (the fork is the application's, and goes on whatever becomes of us)
            logger.exception("a client could not be restarted after a fork")


def prepare_host() -> None:
    """Make forks known that run no hooks of Python's. Called when a client starts."""
    global _told_uwsgi
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None or _told_uwsgi:
        return
    _told_uwsgi = True
    if not _has_threads(uwsgi):
        logger.warning("uWSGI runs without --enable-threads, so that flags cannot be followed; please set it")
    try:
        # The list that its decorator keeps: an application that uses it too would replace a hook of our own.
        importlib.import_module("uwsgidecorators").postfork(_in_child)
    except Exception:  # noqa: BLE001 (it raises Exception itself where there is no master process, hence no fork)
        _chain(uwsgi)


def _chain(uwsgi: Any) -> None:
    earlier = getattr(uwsgi, "post_fork_hook", None)

    def hook() -> None:
        if earlier is not None:
            earlier()
        _in_child()

    uwsgi.post_fork_hook = hook


def _has_threads(uwsgi: Any) -> bool:
    options = getattr(uwsgi, "opt", {})
    return any(name in options for name in ("enable-threads", "threads"))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
