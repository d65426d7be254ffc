"""All flags of an environment at one revision, ready to answer: immutable, and swapped whole.

How a client evaluates fastest: keep ``flag_set.enabled`` in an attribute of its own and call
``enabled[key](context)``; a plain dictionary look-up and one closure. ``KeyError`` says that there is no such
flag.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fader.compiler import NEVER_HELD, CompiledFlag, CompiledPrerequisite, compile_flag
from fader.constraints import CompiledSegments, Condition, Surroundings
from fader.context import parts
from fader.counters import UsageCounters
from fader.evaluation import ErrorCode, EvaluationDetails, Reason
from fader.functions import Enabled, Outcome, Plan, write_decide, write_enabled
from fader.members import Members, followed, wanted_lists
from fader.model import Change, Flag, Prerequisite, Snapshot
from fader.revisions import affected_flags, apply_change, flags_asking_for

T = TypeVar("T")
R = TypeVar("R")


class _Compiled(dict[str, CompiledFlag]):
    """Flags, each compiled when it is first asked for. Two threads may compile the same flag, to the same effect."""

    def __init__(
        self,
        snapshot: Snapshot,
        surroundings: Surroundings,
        counters: UsageCounters,
        members: Mapping[str, Members],
    ) -> None:
        self.surroundings = surroundings
        self.segments = CompiledSegments(snapshot.segments, surroundings, members)
        self.decide = _Written(self, write_decide)
        self._flags = snapshot.flags
        self._counters = counters

    def __missing__(self, key: str) -> CompiledFlag:
        if key not in self._flags:
            raise KeyError(key)
        ordered, has_loop = _prerequisites_first(key, self._flags)
        for each in ordered:
            if each not in self:
                self[each] = self._compile(self._flags[each], has_loop and _depends_on_itself(each, self._flags))
        return self[key]

    def _compile(self, flag: Flag, is_looped: bool) -> CompiledFlag:
        return compile_flag(
            flag,
            segments=self.segments,
            # A flag that needs itself, by whatever way, can never be had: the server refuses such a write.
            prerequisites=[NEVER_HELD if is_looped else self._prerequisite(wanted) for wanted in flag.prerequisites],
            surroundings=self.surroundings,
            counter=lambda variant: self._counters.of(flag.key, variant),
        )

    def _prerequisite(self, wanted: Prerequisite) -> CompiledPrerequisite:
        decide = self.decide[wanted.flag] if wanted.flag in self._flags else None
        return CompiledPrerequisite(decide, wanted.enabled, frozenset(wanted.variants))


class _Written(dict[str, Callable[..., R]]):
    """A function of each flag, written when it is first asked for: many flags are only ever asked in one way."""

    def __init__(self, compiled: _Compiled, write: Callable[[Plan], Callable[..., R]]) -> None:
        self._compiled = compiled
        self._write = write

    def __missing__(self, key: str) -> Callable[..., R]:
        function = self[key] = self._write(self._compiled[key].plan)
        return function


class FlagSet:
    """What a client evaluates with.

    Args:
        snapshot: The flags and segments.
        app: The application's name, for rules that ask for ``app`` when the context does not say.
        counters: Where to count; each set has its own unless told otherwise.
        members: The long lists that segments name, by their names, as far as they are here. Nobody is on the others.
    """

    __slots__ = ("_compiled", "_decide", "counters", "enabled", "members", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        app: str = "",
        counters: UsageCounters | None = None,
        members: Mapping[str, Members] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.counters = UsageCounters() if counters is None else counters
        self.members: Mapping[str, Members] = members or {}
        surroundings = Surroundings(app=app, environment=snapshot.environment)
        self._compiled = _Compiled(snapshot, surroundings, self.counters, self.members)
        self._decide = self._compiled.decide
        self.enabled: Mapping[str, Enabled] = _Written(self._compiled, write_enabled)
        """Flag key to a function of the context that says whether it is on, and counts. Raises ``KeyError``."""

    @property
    def surroundings(self) -> Surroundings:
        """What well-known attributes fall back to."""
        return self._compiled.surroundings

    @property
    def segments(self) -> Mapping[str, Condition]:
        """Segment's name to a condition that says whether a context belongs to it. An unknown one has no members."""
        return self._compiled.segments

    def compiled(self, key: str) -> CompiledFlag:
        """A flag, compiled.

        Raises:
            KeyError: if there is none of this key.
        """
        return self._compiled[key]

    def details(self, key: str, context: object, default: T) -> EvaluationDetails[Any]:
        """Evaluate a flag in full, and count it.

        Args:
            key: The flag's.
            context: A context, a targeting key, or ``None``.
            default: What to answer where the flag has no value to give.

        Raises:
            TypeError: if the context is none.
        """
        revision = self.snapshot.revision
        if key not in self.snapshot.flags:
            self.counters.of_unknown(key)[0] += 1
            return EvaluationDetails(
                key=key,
                value=default,
                reason=Reason.ERROR,
                revision=revision,
                error_code=ErrorCode.FLAG_NOT_FOUND,
                error_message=f"there is no flag {key!r} in {self.snapshot.environment or 'the snapshot'}",
            )
        outcome = self.decide(key, context)
        outcome.counter[0] += 1
        return EvaluationDetails(
            key=key,
            value=default if outcome.value is None else outcome.value,
            reason=outcome.reason,
            variant=outcome.variant,
            enabled=outcome.enabled,
            rule=outcome.rule,
            revision=revision,
        )

    def decide(self, key: str, context: object) -> Outcome:
        """Evaluate a flag without counting.

        Raises:
            KeyError: if there is none of this key.
            TypeError: if the context is none.
        """
        return self._decide[key](*parts(context))

    def apply_change(self, change: Change, affected: frozenset[str] | None = None) -> "FlagSet":
        """The flags after a change. This set stays as it is.

        Args:
            change: What has become different.
            affected: The flags whose evaluation may differ, if somebody has found them out already. Of all others
                what has been compiled is taken over.
        """
        snapshot = apply_change(self.snapshot, change)
        members = followed(self.members, snapshot.segments, change.members)
        if affected is None:
            affected = affected_flags(self.snapshot, snapshot)
        return self._followed_by(snapshot, members, affected)

    def with_members(self, members: Members) -> "FlagSet":
        """The flags with a long list that has come. This set stays as it is.

        Args:
            members: The list; one of that name is replaced.
        """
        everywhere = {**self.members, members.described.list: members}
        return self._followed_by(self.snapshot, everywhere, self.asking_for(members))

    def asking_for(self, members: Members) -> frozenset[str]:
        """The keys of the flags that may evaluate otherwise because of a list."""
        names = {key for key, one in wanted_lists(self.snapshot.segments).items() if one.list == members.described.list}
        return flags_asking_for(names, self.snapshot.flags)

    def _followed_by(self, snapshot: Snapshot, members: Mapping[str, Members], affected: frozenset[str]) -> "FlagSet":
        changed = FlagSet(snapshot, app=self.surroundings.app, counters=self.counters, members=members)
        changed._compiled.segments.take_over(self._compiled.segments)
        _take_over(self._compiled, changed._compiled, affected)
        _take_over(self._decide, changed._decide, affected)
        return changed


def _take_over(old: dict[str, T], new: dict[str, T], affected: frozenset[str]) -> None:
    # list() of a view is one step for the interpreter: other threads may compile flags meanwhile.
    new.update((key, made) for key, made in list(old.items()) if key not in affected)


def _prerequisites_first(key: str, flags: Mapping[str, Flag]) -> tuple[list[str], bool]:
    """A flag and all its prerequisites, at any distance, each after its own; and whether any of them need themselves.

    Depth first, without recursion, for chains may be long.
    """
    ordered: dict[str, None] = {}
    open_: set[str] = set()
    has_loop = False
    to_visit = [(key, False)]
    while to_visit:
        here, is_done = to_visit.pop()
        if is_done:
            ordered[here] = None
            open_.discard(here)
        elif here in open_:
            has_loop = True
        elif here in flags and here not in ordered:
            open_.add(here)
            to_visit.append((here, True))
            to_visit.extend((prerequisite.flag, False) for prerequisite in flags[here].prerequisites)
    return list(ordered), has_loop


def _depends_on_itself(key: str, flags: Mapping[str, Flag]) -> bool:
    seen: set[str] = set()
    to_visit = [prerequisite.flag for prerequisite in flags[key].prerequisites]
    while to_visit:
        here = to_visit.pop()
        if here == key:
            return True
        if here in flags and here not in seen:
            seen.add(here)
            to_visit.extend(prerequisite.flag for prerequisite in flags[here].prerequisites)
    return False
