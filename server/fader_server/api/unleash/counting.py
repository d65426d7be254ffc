"""Unleash's metrics as usage: yes and no, and variants, as how often which variant of a flag was served."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from fader import model
from fader_server.unleash.variants import NO_VARIANT

_LARGEST_COUNT: Final = 2**53
_LONGEST_NAME: Final = 512


class Counted(Struct, frozen=True, rename="camel"):
    """How often an SDK has answered for one flag, as it says itself.

    Args:
        feature_name: The flag.
        yes: How often it was on, whether or not its variant was asked for.
        no: How often it was off.
        variants: How often which variant was given, ``disabled`` where there was none to give.
    """

    feature_name: str
    yes: Any = 0
    no: Any = 0
    variants: Any = None


class Usage(Struct, frozen=True):
    """What was served, as :class:`fader_server.storage.records.UsageReport` has it."""

    flags: dict[str, dict[str, int]]
    unknown: dict[str, int]


def usage_of(counted: Iterable[Counted], flags: Mapping[str, model.Flag]) -> Usage:
    """Add up what SDKs have counted.

    Who asks for a variant is counted twice by Unleash's SDKs: once as yes or no, once by the variant's name. So each
    variant counts as often as it was given, and what is left of *yes* are those who only asked whether the flag is on:
    of a flag with variants nobody knows what these would have got, and they count as ``on``.

    Args:
        counted: What SDKs say. What is odd in it counts as nothing.
        flags: Those that there are; all others count as unknown.
    """
    served: dict[str, Counter[str]] = {}
    unknown: Counter[str] = Counter()
    for one in counted:
        name = one.feature_name
        if len(name) > _LONGEST_NAME:
            continue
        yes, no = _count(one.yes), _count(one.no)
        flag = flags.get(name)
        if flag is None:
            unknown[name] += yes + no
            continue
        counts = served.setdefault(name, Counter())
        given = _given(one.variants) if flag.variants else {}
        counts.update(given)
        counts[model.ON] += max(yes - sum(given.values()), 0)
        counts[flag.off_variant] += no
    return Usage({name: found for name, counts in served.items() if (found := dict(+counts))}, dict(+unknown))


def _given(variants: Any) -> dict[str, int]:
    if not isinstance(variants, dict):
        return {}
    return {
        name: count
        for name, said in variants.items()
        if name != NO_VARIANT and len(name) <= _LONGEST_NAME and (count := _count(said))
    }


def _count(said: Any) -> int:
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said <= _LARGEST_COUNT:
        return 0
    return int(said)
