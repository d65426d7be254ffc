"""gevent's monkey patching, which makes greenlets of what had been threads, while a client runs already.

It comes that late where a server loads the application, forks, and patches in the child alone, as gunicorn does for
``--preload --worker-class gevent``. Until then the child's client has a real thread, and that must not go on: patching
makes the locks of Python's imports gevent's, whoever waits first on a patched thread imports what makes a hub, and two
threads that do so in the same moment wait for each other for ever. The child would never serve a request. So threads
end before the patching and begin again, as greenlets, after it.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from fader.forking import are_threads_real, do_when_possible, protect

Step: TypeAlias = Callable[[], None]

_NEWS: Final = "gevent.events"

_before: list[Step] = []
_after: list[Callable[[], list[Step]]] = []


def register(before: Step, after: Callable[[], list[Step]]) -> None:
    """Have real threads end and begin again.

    Args:
        before: Ends them; called before anything is patched.
        after: Prepares for them to begin again, and returns what begins them; called when all is patched.
    """
    _before.append(before)
    _after.append(after)


def listen() -> None:
    """Hear of patching from now on. Called when a client starts.

    gevent tells of it by ``zope.event``, without which there is no gevent. It may itself be imported later than this.
    """
    try:
        subscribers: list[Callable[[Any], None]] = importlib.import_module("zope.event").subscribers
    except ImportError:
        return
    if _notice not in subscribers:
        subscribers.append(_notice)


def _notice(event: Any) -> None:
    news: Any = sys.modules.get(_NEWS)
    if news is None:
        return  # others tell things by the same way
    if isinstance(event, news.GeventWillPatchAllEvent):
        if are_threads_real():
            for before in _before:
                protect(before)
    elif isinstance(event, news.GeventDidPatchAllEvent):
        do_when_possible([step for after in _after for step in protect(after) or ()])
