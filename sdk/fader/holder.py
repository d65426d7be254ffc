"""Holds the flags that a client evaluates with, and takes in what is new: from the server, the disk, and tests.

Readers never come here: they have the ``FlagSet`` that was handed to ``publish``, and it is swapped whole.
"""

import threading
from collections.abc import Callable
from typing import TypeAlias

from fader.counters import UsageCounters
from fader.model import Change, Snapshot
from fader.overrides import NOTHING, Layer, apply_layers
from fader.revisions import Verdict, affected_flags, judge_change, judge_snapshot, version_of
from fader.snapshot import FlagSet
from fader.status import logger

Listener: TypeAlias = Callable[[frozenset[str]], object]


class FlagHolder:
    """The present flags of one client.

    Args:
        publish: Called with the flags to evaluate with from now on: at once, and whenever they become different ones.
        counters: Where evaluations are counted.
    """

    def __init__(self, publish: Callable[[FlagSet], None], counters: UsageCounters) -> None:
        self._publish = publish
        self._counters = counters
        self._app = ""
        self._snapshot: Snapshot | None = None
        self._flags = self._compile(NOTHING)
        self._layers: tuple[Layer, ...] = ()
        self._listeners: tuple[_Listening, ...] = ()
        self.renew_lock()
        publish(self._flags)

    def renew_lock(self) -> None:
        """In a forked child: another thread of the parent may have held the lock in the moment of the fork."""
        self._lock = threading.Lock()

    def use_app(self, app: str) -> None:
        """Give rules that ask for ``app`` this name, where a context has no other."""
        with self._lock:
            self._app = app
            if self._snapshot is not None:
                self._flags = self._compile(self._snapshot)
            self._publish_all()

    @property
    def snapshot(self) -> Snapshot | None:
        """What the server has sent last, without overrides."""
        return self._snapshot

    @property
    def version(self) -> str | None:
        """Epoch and revision held."""
        snapshot = self._snapshot
        return version_of(snapshot) if snapshot is not None else None

    @property
    def revision(self) -> int | None:
        """The revision held."""
        snapshot = self._snapshot
        return snapshot.revision if snapshot is not None else None

    @property
    def isolated(self) -> bool:
        """Whether nothing of what the server sends can be seen at present."""
        return any(layer.opaque for layer in self._layers)

    def receive(self, news: Snapshot | Change) -> Verdict:
        """Take in what the server, or the disk, has given, and tell the listeners.

        Args:
            news: A whole snapshot, or what has changed.

        Returns:
            What became of it.
        """
        with self._lock:
            before = self._snapshot
            verdict = judge_snapshot(before, news) if isinstance(news, Snapshot) else judge_change(before, news)
            if verdict is not Verdict.APPLY:
                return verdict
            self._flags = self._compile(news) if isinstance(news, Snapshot) else self._flags.apply_change(news)
            after = self._snapshot = self._flags.snapshot
            self._publish_all()
        if self._listeners and (keys := affected_flags(before, after)):
            for listening in self._listeners:
                listening(keys)
        return verdict

    def cover(self, layer: Layer) -> None:
        """Lay ``layer`` over everything else."""
        with self._lock:
            self._layers = (*self._layers, layer)
            self._publish_all()

    def uncover(self, layer: Layer) -> None:
        """Take ``layer`` away, wherever it lies by now."""
        with self._lock:
            self._layers = tuple(other for other in self._layers if other is not layer)
            self._publish_all()

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Call ``callback`` with the keys of the flags that a change affects; returns what ends it."""
        listening = _Listening(callback)
        with self._lock:
            self._listeners = (*self._listeners, listening)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listening)

        return unsubscribe

    def _publish_all(self) -> None:
        seen = apply_layers(self._snapshot, self._layers)
        self._publish(self._flags if seen is self._snapshot else self._compile(seen or NOTHING))

    def _compile(self, snapshot: Snapshot) -> FlagSet:
        return FlagSet(snapshot, app=self._app, counters=self._counters)


class _Listening:
    """A callback, and whether it has failed before."""

    def __init__(self, callback: Listener) -> None:
        self._callback = callback
        self._has_failed = False

    def __call__(self, keys: frozenset[str]) -> None:
        try:
            self._callback(keys)
        except Exception:  # noqa: BLE001 (somebody else's code must not cost this process its flags)
            if not self._has_failed:
                self._has_failed = True
                logger.exception("a listener for changes of flags failed; its next failures are not logged")
