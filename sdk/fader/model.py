"""The data that make up a flag, as they travel and as they are stored: values only, no behaviour.

Everything else in the SDK may import this module; it imports nothing of ours. Readers ignore fields they do not
know, so that an older SDK can follow a newer server; the server's admin API refuses them.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

Scalar: TypeAlias = str | int | float | bool
"""What a constraint compares with; every scalar has one canonical text (``fader.context.canonical_text``)."""

ValueType: TypeAlias = Literal["boolean", "string", "number", "object"]
"""The type that all variants of one flag share. ``object`` is any JSON value."""

ON: Final = "on"
OFF: Final = "off"
"""The two variants that every boolean flag has without naming them; their values are true and false."""

BY_DEFAULT: Final = "default"
"""Hash the targeting key; without one, ``session_id``; without either, draw at random for this one call."""
BY_RANDOM: Final = "random"
"""Draw at random for each call."""

TARGETING_KEY: Final = "targeting_key"
SESSION_ID: Final = "session_id"
REMOTE_ADDRESS: Final = "remote_address"
APP: Final = "app"
ENVIRONMENT: Final = "environment"
CURRENT_TIME: Final = "current_time"
"""Well-known attributes. Constraints and ``by`` may name them like any other attribute."""


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything below: immutable, and small on the wire."""


class Variant(Model, frozen=True):
    """One of the values that a flag can take. A value of ``None`` stands for the caller's own default."""

    name: str
    value: Any = None


class Constraint(Model, frozen=True):
    """A test of one attribute. ``operator`` is text rather than an enum: an SDK must be able to read, and answer
    *no* to, an operator that is newer than itself."""

    attribute: str
    operator: str
    values: tuple[Scalar, ...] = ()
    inverted: bool = False
    case_insensitive: bool = False


class Rollout(Model, frozen=True):
    """Which share of the contexts is let in.

    ``percentage`` is in percent, 0 to 100 in steps of 0.001, and is turned into integer thousandths once, by
    ``fader.bucketing.thousandths``. An empty ``salt`` stands for the flag's key.
    """

    percentage: float = 100.0
    by: str = BY_DEFAULT
    salt: str = ""


class WeightedVariant(Model, frozen=True):
    """A variant's share of a split, as a weight relative to the sum of all weights."""

    variant: str
    weight: int


class Split(Model, frozen=True):
    """How a rule shares its contexts out among variants. An empty ``salt`` stands for the flag's key."""

    variants: tuple[WeightedVariant, ...]
    by: str = BY_DEFAULT
    salt: str = ""


class Rule(Model, frozen=True):
    """If all constraints and all segments hold and the rollout lets the context in, this rule decides.

    It serves ``variant`` or, where given, ``split``; with neither, the flag's first variant (``on`` for booleans).
    """

    id: str = ""
    description: str = ""
    constraints: tuple[Constraint, ...] = ()
    segments: tuple[str, ...] = ()
    rollout: Rollout = Rollout()
    variant: str | None = None
    split: Split | None = None


class Prerequisite(Model, frozen=True):
    """Another flag that must be on (or off: ``enabled=False``) and, where ``variants`` are named, serve one of them."""

    flag: str
    enabled: bool = True
    variants: tuple[str, ...] = ()


class Flag(Model, frozen=True):
    """A flag as one environment sees it: all that evaluation needs and nothing more.

    A boolean flag has no ``variants`` of its own; all others name theirs, ``off_variant`` among them.
    """

    key: str
    enabled: bool = False
    type: ValueType = "boolean"
    variants: tuple[Variant, ...] = ()
    off_variant: str = OFF
    prerequisites: tuple[Prerequisite, ...] = ()
    rules: tuple[Rule, ...] = ()


class MemberList(Model, frozen=True):
    """A list of targeting keys that is too long to travel with its segment: which one, and how it is to be.

    ``list`` names it for as long as the segment has one; ``version`` grows with each change of it. ``digest`` is the
    sum of all its hashes modulo 2⁶⁴, as 16 hexadecimal digits: whoever holds a list can tell whether it is this one,
    also where a restored database has given the same version out twice.
    """

    list: Annotated[str, Meta(pattern=r"\A[0-9a-z]{1,64}\Z")]
    version: int
    count: int
    digest: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]


class MembersDelta(Model, frozen=True):
    """What a list has become different by, from version ``since`` on: hashes, as ``fader.members`` writes them."""

    since: int
    version: int
    added: bytes = b""
    removed: bytes = b""


class Segment(Model, frozen=True):
    """A named set of contexts: those whose targeting key is listed, and those for whom all constraints hold.

    Without constraints only the listed keys are members, so a segment with neither has no members. Keys are listed in
    ``targeting_keys`` or, where they are many, in the list that ``members`` names. ``id`` is a number that stays with
    the segment for ever, for protocols that cannot carry names.
    """

    key: str
    id: int = 0
    constraints: tuple[Constraint, ...] = ()
    targeting_keys: tuple[str, ...] = ()
    members: MemberList | None = None


class Guard(Model, frozen=True):
    """What applications are to record while a ramp is in a step, so that the server can compare users who have the
    feature with users who have not.

    Args:
        id: Names the guard of this ramp in this step: what reports call it.
        metric: What is to be recorded, by the name that applications give it.
        hash_key: What users are hashed with, so that they can be counted and not be known: 128 bits, in hexadecimal.
            Each step has another one.
        rule: The rule whose rollout is raised. Whom it lets in has the feature; whom only its rollout keeps out has
            not; nobody else is counted.
        slower_than_ms: For a guard of latency, what took longer counts as failed. Of others it is what raised.
        timed: Whether it is a guard of latency. One that has no ``slower_than_ms`` yet learns what is usual: nothing
            counts as failed.
    """

    id: str
    metric: str
    hash_key: str
    rule: str = ""
    slower_than_ms: float | None = None
    timed: bool = False


class Snapshot(Model, frozen=True):
    """All flags and segments of an environment at one revision. A new ``epoch`` starts the revisions afresh.

    ``guards`` are those of ramps that are under way, by the flag that is brought up.
    """

    project: str
    environment: str
    epoch: str
    revision: int
    flags: dict[str, Flag] = {}
    segments: dict[str, Segment] = {}
    guards: dict[str, tuple[Guard, ...]] = {}


class Change(Model, frozen=True):
    """What became different between two revisions of one epoch: the new state of each thing, ``None`` where it is gone.

    It can be applied to any snapshot of that epoch whose revision is at least ``since`` and less than ``revision``.
    ``members`` are small changes of long lists, by the list's name and in order: whoever holds the version that they
    begin with need not fetch the list again. ``guards`` are all that a flag has now: none, when its ramp is over.
    """

    epoch: str
    since: int
    revision: int
    flags: dict[str, Flag | None] = {}
    segments: dict[str, Segment | None] = {}
    members: dict[str, tuple[MembersDelta, ...]] = {}
    guards: dict[str, tuple[Guard, ...]] = {}
