"""How often each variant was served: counters that evaluation bumps and nobody resets.

A counter is a list of one number. ``counter[0] += 1`` costs some ten nanoseconds and needs no lock under
CPython's global interpreter lock: the interpreter switches threads at calls and at backward jumps, and there
is none between reading the number and storing it. (On a free-threaded build two threads may, rarely, count
one call once.)
"""

from typing import Final, Literal, TypeAlias

Counter: TypeAlias = list[int]

DarkCount: TypeAlias = Literal[
    "compared", "mismatched", "candidate_raised", "control_raised", "dropped", "control_us", "candidate_us"
]
"""What is counted of a dark launch. Of all calls that are ``compared``, those in which only one of the two raised, and
those in which they returned or raised different things; and, of those in which both returned or both raised, how many
microseconds each took. What is ``dropped`` did not run, for too much was running already."""

MOST_UNKNOWN: Final = 1_000
"""Different keys that are counted one by one; an application that makes keys up must not fill the memory."""
OTHER_UNKNOWN: Final = "…"
"""Stands for all further unknown keys; no flag can have it as its key."""


class UsageCounters:
    """All counters of one client. They belong to flag and variant, so they outlive each new version of a flag."""

    def __init__(self) -> None:
        self._flags: dict[str, dict[str, Counter]] = {}
        self._unknown: dict[str, Counter] = {}
        self._dark_launches: dict[str, dict[str, Counter]] = {}

    def of(self, flag: str, variant: str) -> Counter:
        """The counter of a flag's variant."""
        return self._flags.setdefault(flag, {}).setdefault(variant, [0])

    def of_unknown(self, key: str) -> Counter:
        """The counter of a key that no flag has."""
        if key not in self._unknown and len(self._unknown) >= MOST_UNKNOWN:
            key = OTHER_UNKNOWN
        return self._unknown.setdefault(key, [0])

    def of_dark_launch(self, flag: str, what: DarkCount) -> Counter:
        """The counter of what became of a flag's dark launches."""
        return self._dark_launches.setdefault(flag, {}).setdefault(what, [0])

    def flags(self) -> dict[str, dict[str, int]]:
        """All counts so far, by flag and variant, without those that are zero."""
        return _numbers(self._flags)

    def unknown(self) -> dict[str, int]:
        """The same for keys that no flag has."""
        return {key: counter[0] for key, counter in list(self._unknown.items())}

    def dark_launches(self) -> dict[str, dict[str, int]]:
        """The same of dark launches, by flag and what is counted."""
        return _numbers(self._dark_launches)


def _numbers(counters: dict[str, dict[str, Counter]]) -> dict[str, dict[str, int]]:
    # list() of a view is one step for the interpreter: other threads may add counters meanwhile.
    counts = {
        flag: {name: counter[0] for name, counter in list(some.items()) if counter[0]}
        for flag, some in list(counters.items())
    }
    return {flag: some for flag, some in counts.items() if some}
