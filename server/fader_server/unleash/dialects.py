"""What an SDK of Unleash's can read, and a feature in the words that it knows."""

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from fader_server.unleash.outward import OutwardState
from fader_server.unleash.wire import WireFeature, WireSegment, WireStrategy

_KNOWS_SEGMENTS: Final = (4, 2)
_VERSION: Final = re.compile(r"\s*([0-9]{1,6})\.([0-9]{1,6})")


class Dialect(Enum):
    """How features are written."""

    FULL = "full"
    INLINED = "inlined"
    """Without segments: each strategy has the constraints of its segments itself."""


def dialect_of(client_spec: str | None) -> Dialect:
    """What an SDK can read.

    Args:
        client_spec: Its header ``Unleash-Client-Spec``, the version of Unleash's client specification that it keeps
            to. One without it is old.

    >>> dialect_of("4.1.9"), dialect_of("5.2.0")
    (<Dialect.INLINED: 'inlined'>, <Dialect.FULL: 'full'>)
    """
    version = _VERSION.match(client_spec or "")
    known = (int(version[1]), int(version[2])) if version else (0, 0)
    return Dialect.FULL if known >= _KNOWS_SEGMENTS else Dialect.INLINED


def features_in(state: OutwardState, dialect: Dialect) -> Iterable[WireFeature]:
    """All features of an environment, in order, in a dialect."""
    if dialect is Dialect.FULL:
        return state.features.values()
    by_number = {segment.id: segment for segment in state.segments.values()}
    return [_with_segments_inlined(feature, by_number) for feature in state.features.values()]


def inlined(feature: WireFeature, segments: Iterable[WireSegment]) -> WireFeature:
    """A feature whose strategies ask themselves what their segments ask.

    Args:
        feature: Any.
        segments: Those that it names, at least.
    """
    return _with_segments_inlined(feature, {segment.id: segment for segment in segments})


def _with_segments_inlined(feature: WireFeature, segments: dict[int, WireSegment]) -> WireFeature:
    return replace(feature, strategies=tuple(_inlined(strategy, segments) for strategy in feature.strategies))


def _inlined(strategy: WireStrategy, segments: dict[int, WireSegment]) -> WireStrategy:
    named = () if strategy.segments is UNSET else strategy.segments
    constraints = [constraint for number in named for constraint in segments[number].constraints]
    return replace(strategy, constraints=(*strategy.constraints, *constraints), segments=UNSET)
