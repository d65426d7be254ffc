"""Holds the flags that a client evaluates with, and takes in what is new: from the server, the disk, and tests.

Readers never come here: they have the ``FlagSet`` that was handed to ``publish``, and it is swapped whole.
"""

import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

from fader.counters import UsageCounters
from fader.listening import Listening
from fader.members import Members, followed, missing_lists
from fader.model import Change, MemberList, Snapshot
from fader.overrides import NOTHING, Layer, apply_layers
from fader.revisions import Verdict, affected_flags, judge_change, judge_snapshot, version_of
from fader.snapshot import FlagSet

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
        self._members: Mapping[str, Members] = {}
        self._missing: Mapping[str, MemberList] = {}
        self._flags = self._compile(NOTHING)
        self._layers: tuple[Layer, ...] = ()
        self._listeners: tuple[Listening[frozenset[str]], ...] = ()
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
    def members(self) -> Mapping[str, Members]:
        """The long lists of targeting keys that are held, by name."""
        return self._members

    @property
    def missing_lists(self) -> Mapping[str, MemberList]:
        """The lists that the revision held asks for and that have not come yet, by the segments' keys. Until they come,
        their segments have the members that they had."""
        return self._missing

    @property
    def is_complete(self) -> bool:
        """Whether the revision held has everything that it names. Until then it must not be acknowledged as applied."""
        return not self._missing

    @property
    def isolated(self) -> bool:
        """Whether nothing of what the server sends can be seen at present."""
        return any(layer.opaque for layer in self._layers)

    def receive(self, news: Snapshot | Change, members: Mapping[str, Members] | None = None) -> Verdict:
        """Take in what the server, or the disk, has given, and tell the listeners.

        Args:
            news: A whole snapshot, or what has changed.
            members: Long lists that have come with it, by name.

        Returns:
            What became of it.
        """
        with self._lock:
            before = self._snapshot
            verdict = judge_snapshot(before, news) if isinstance(news, Snapshot) else judge_change(before, news)
            if verdict is not Verdict.APPLY:
                return verdict
            if isinstance(news, Snapshot):
                self._members = followed({**self._members, **(members or {})}, news.segments, {})
                self._flags = self._compile(news)
            else:
                self._flags = self._flags.apply_change(news)
            after = self._snapshot = self._flags.snapshot
            self._hold(self._flags.members)
            self._publish_all()
        if self._listeners:
            self._tell(affected_flags(before, after))
        return verdict

    def receive_members(self, members: Members) -> None:
        """Take in a long list that the server, or the disk, has given, and tell the listeners.

        Args:
            members: The list; without effect unless a segment names one like it.
        """
        members.contains  # noqa: B018 (made here and not by the first who asks, who may be in a hurry)
        with self._lock:
            if all(wanted.list != members.described.list for wanted in self._missing.values()):
                return
            self._flags = self._flags.with_members(members)
            self._hold(self._flags.members)
            self._publish_all()
        self._tell(self._flags.asking_for(members))

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
        listening = Listening(callback, "changes of flags")
        with self._lock:
            self._listeners = (*self._listeners, listening)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listening)

        return unsubscribe

    def _tell(self, keys: frozenset[str]) -> None:
        if keys:
            for listening in self._listeners:
                listening(keys)

    def _hold(self, members: Mapping[str, Members]) -> None:
        for one in members.values():
            one.contains  # noqa: B018 (as above)
        self._members = members
        self._missing = {} if self._snapshot is None else missing_lists(self._snapshot.segments, members)

    def _publish_all(self) -> None:
        seen = apply_layers(self._snapshot, self._layers)
        self._publish(self._flags if seen is self._snapshot else self._compile(seen or NOTHING))

    def _compile(self, snapshot: Snapshot) -> FlagSet:
        return FlagSet(snapshot, app=self._app, counters=self._counters, members=self._members)
