"""When answers may become different although nothing has been changed: rules that ask what time it is.

Between two of the times that they name, nothing happens. So how many of them have passed says, together with the
version and the context, whether an answer still holds.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from fader.model import CURRENT_TIME, Constraint, Rule, Snapshot
from fader.operators.times import moment

_COMPARING: Final = frozenset({"before", "after"})
_ALWAYS_SO: Final = "exists"


class Moments:
    """The times that rules name.

    Args:
        limits: These times, in order; ``None`` if rules do more with the time than to compare it, so that no answer
            holds for longer than a moment.
    """

    __slots__ = ("_limits",)

    def __init__(self, limits: Sequence[datetime] | None) -> None:
        self._limits = limits

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Moments":
        """Those of a snapshot."""
        rules = [rule for flag in snapshot.flags.values() if flag.enabled for rule in flag.rules]
        if any(_hashes_time(rule) for rule in rules):
            return cls(None)
        limits = []
        for constraint in _asking_for_time(rules, snapshot):
            limit = moment(constraint.values[0]) if len(constraint.values) == 1 else None
            if constraint.operator in _COMPARING and limit is not None:
                limits.append(limit)
            elif constraint.operator != _ALWAYS_SO:
                return cls(None)
        return cls(sorted(limits))

    def passed(self, now: datetime) -> int | None:
        """A number that stays the same while answers do; ``None`` if that cannot be said.

        Args:
            now: The time, aware.
        """
        if not self._limits:
            return None if self._limits is None else 0
        # The moment itself is neither before nor after.
        return bisect_left(self._limits, now) + bisect_right(self._limits, now)


def _asking_for_time(rules: Sequence[Rule], snapshot: Snapshot) -> Iterator[Constraint]:
    everywhere = chain(
        (rule.constraints for rule in rules), (segment.constraints for segment in snapshot.segments.values())
    )
    return (each for constraints in everywhere for each in constraints if each.attribute == CURRENT_TIME)


def _hashes_time(rule: Rule) -> bool:
    return rule.rollout.by == CURRENT_TIME or (rule.split is not None and rule.split.by == CURRENT_TIME)
