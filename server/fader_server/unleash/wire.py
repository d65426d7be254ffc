"""Features and segments as we send them to Unleash's SDKs: every field of the right kind, none left to guess.

Where reading is lenient (``model``), writing must not be: the engine in most of Unleash's SDKs refuses a whole
answer, without a word, for one value of the wrong kind, and goes on with the flags that it had.
"""

from typing import Final, Literal

from msgspec import UNSET, Struct, UnsetType, field

LARGEST_SEGMENT_ID: Final = 2**31 - 1
LARGEST_WEIGHT_SUM: Final = 2**31 - 1
"""Both are signed 32-bit integers in the engine; anything larger is refused, and everything else with it."""


class WireModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything below. Fields are sent in this order, so that equal content gives equal bytes."""


class WireConstraint(WireModel, frozen=True, kw_only=True):
    """A test of one context field: ``values`` or ``value``, as its operator wants, and never both."""

    context_name: str
    operator: str
    values: tuple[str, ...] | UnsetType = UNSET
    value: str | UnsetType = UNSET
    inverted: bool = False
    case_insensitive: bool = False


class WirePayload(WireModel, frozen=True, kw_only=True):
    """What a variant carries, always as text."""

    type: Literal["string", "number", "json"]
    value: str


class WireVariant(WireModel, frozen=True, kw_only=True):
    """A variant with its share."""

    name: str
    weight: int
    weight_type: Literal["variable"] = "variable"
    stickiness: str
    payload: WirePayload | UnsetType = UNSET


class WireParameters(WireModel, frozen=True, kw_only=True):
    """Of ``flexibleRollout``, and ``ips`` of ``remoteAddress``; its variants are shared out by the others."""

    ips: str | UnsetType = field(default=UNSET, name="IPs")
    rollout: str
    stickiness: str
    group_id: str


class WireStrategy(WireModel, frozen=True, kw_only=True):
    """One way of being let in. ``flexibleRollout`` says everything that ours can; ``remoteAddress`` says some of it so
    that the oldest SDKs understand it, too."""

    name: Literal["flexibleRollout", "remoteAddress"] = "flexibleRollout"
    parameters: WireParameters
    constraints: tuple[WireConstraint, ...] = ()
    segments: tuple[int, ...] | UnsetType = ()
    variants: tuple[WireVariant, ...] = ()


class WireDependency(WireModel, frozen=True, kw_only=True):
    """Another feature that must be on (or off) and, where variants are named, give one of them."""

    feature: str
    enabled: bool = True
    variants: tuple[str, ...] | UnsetType = UNSET


class WireFeature(WireModel, frozen=True, kw_only=True):
    """A flag. ``strategies`` is never empty: to Unleash's SDKs that means on for everybody."""

    name: str
    type: str = "release"
    enabled: bool
    project: str
    stale: bool = False
    impression_data: bool = False
    strategies: tuple[WireStrategy, ...]
    variants: tuple[WireVariant, ...] = ()
    dependencies: tuple[WireDependency, ...] | UnsetType = UNSET


class WireSegment(WireModel, frozen=True, kw_only=True):
    """A reusable list of constraints, which all must hold."""

    id: int
    name: str
    constraints: tuple[WireConstraint, ...]
