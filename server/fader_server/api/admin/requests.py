"""The bodies that the admin API takes. Unknown fields are refused: a misspelt one must not silently do
nothing.

Nested parts of a flag repeat ``fader.model`` field by field with that strictness, and ``model_of`` turns them
into it.
"""

from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from fader import model
from fader_server.flags.findings import KEY_FORM
from fader_server.imports import Format
from fader_server.imports.wanted import Acceptable
from fader_server.storage.records import FlagKind, KeyKind, Role

Key = Annotated[
    str,
    Meta(
        description="1 to 128 letters, digits and . _ ~ -",
        # For the document only: the services check it, with an error that says how to mend it.
        extra_json_schema={"extra": {"pattern": KEY_FORM}},
    ),
]
LINES: Final = {"max_length": 1000, "pattern": r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F]*$"}
"""How the document describes a text: not too long, and no control characters but line breaks and tabs."""

Text = Annotated[str, Meta(extra_json_schema={"extra": LINES})]
Line = Annotated[str, Meta(extra_json_schema={"extra": {"max_length": 1000, "pattern": r"^[^\x00-\x1F\x7F-\x9F]*$"}})]
Reason = Annotated[str, Meta(description="Why, for the history.", extra_json_schema={"extra": LINES})]
Name = Annotated[
    str,
    Meta(
        description="What people recognise it by.",
        extra_json_schema={"extra": {"min_length": 1, "max_length": 200, "pattern": r"^[^\x00-\x20\x7F-\xA0]+$"}},
    ),
]
Percentage = Annotated[
    float,
    Meta(
        description="In percent, in steps of 0.001: 12.5 lets one in eight in.",
        extra_json_schema={"extra": {"minimum": 0, "maximum": 100}},
    ),
]


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies."""


class ConstraintBody(Body, frozen=True, kw_only=True):
    """A test of one attribute of the context."""

    attribute: str
    operator: str
    values: tuple[model.Scalar, ...] = ()
    inverted: bool = False
    case_insensitive: bool = False


class RolloutBody(Body, frozen=True, kw_only=True):
    """Which share is let in; an empty ``salt`` stands for the flag's key."""

    percentage: Percentage = 100.0
    by: str = model.BY_DEFAULT
    salt: str = ""


class WeightedVariantBody(Body, frozen=True, kw_only=True):
    """A variant's share of a split."""

    variant: str
    weight: int


class SplitBody(Body, frozen=True, kw_only=True):
    """How contexts are shared out among variants; an empty ``salt`` stands for the flag's key."""

    variants: tuple[WeightedVariantBody, ...]
    by: str = model.BY_DEFAULT
    salt: str = ""


class RuleBody(Body, frozen=True, kw_only=True):
    """Serves a variant, or a split, to those for whom everything holds. Without an ``id`` it gets one."""

    id: str = ""
    description: Text = ""
    constraints: tuple[ConstraintBody, ...] = ()
    segments: tuple[str, ...] = ()
    rollout: RolloutBody = RolloutBody()
    variant: str | None = None
    split: SplitBody | None = None


class PrerequisiteBody(Body, frozen=True, kw_only=True):
    """Another flag that must be on, or off."""

    flag: str
    enabled: bool = True
    variants: tuple[str, ...] = ()


class VariantBody(Body, frozen=True, kw_only=True):
    """A value that the flag can take; ``null`` stands for the caller's own default."""

    name: Key
    value: Any = None


class CreateProject(Body, frozen=True, kw_only=True):
    """A project that is to be."""

    key: Key
    description: Text = ""
    reason: Reason = ""


class DescribeProject(Body, frozen=True, kw_only=True):
    """What is to become different about a project."""

    description: Text
    reason: Reason = ""


class CreateEnvironment(Body, frozen=True, kw_only=True):
    """An environment that is to be."""

    key: Key
    reason: Reason = ""


class CreateFlag(Body, frozen=True, kw_only=True):
    """A flag that is to be. Boolean flags have the variants ``on`` and ``off`` by themselves; others name
    theirs, and which of them is served while the flag is off."""

    key: Key
    description: Text = ""
    owner: Line = ""
    tags: tuple[str, ...] = ()
    kind: FlagKind = "release"
    type: model.ValueType = "boolean"
    variants: tuple[VariantBody, ...] = ()
    off_variant: str | None = None
    reason: Reason = ""


class PatchFlag(Body, frozen=True, kw_only=True):
    """What is to become different about a flag; fields that are left out, or ``null``, stay as they are."""

    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] | None = None
    kind: FlagKind | None = None
    variants: tuple[VariantBody, ...] | None = None
    off_variant: str | None = None
    reason: Reason = ""


class Why(Body, frozen=True, kw_only=True):
    """Nothing but the reason. The whole body may be left out."""

    reason: Reason = ""


class Configure(Body, frozen=True, kw_only=True):
    """A flag's whole configuration in an environment; what is left out is gone afterwards."""

    enabled: bool
    rules: tuple[RuleBody, ...] = ()
    prerequisites: tuple[PrerequisiteBody, ...] = ()
    reason: Reason = ""


class SwitchOn(Body, frozen=True, kw_only=True):
    """Optionally the share that is let in, set in the same change. The whole body may be left out."""

    percentage: Percentage | None = None
    reason: Reason = ""


class RollOut(Body, frozen=True, kw_only=True):
    """The share that is let in: by the rule whose id is given, else by the last rule that is for
    everybody."""

    percentage: Percentage
    by: str | None = None
    salt: str | None = None
    rule: str | None = None
    reason: Reason = ""


class AddRule(RuleBody, frozen=True, kw_only=True):
    """A rule that is to be, before the one at ``position`` (counted from 0), or last."""

    position: int | None = None
    reason: Reason = ""


class ReplaceRule(RuleBody, frozen=True, kw_only=True):
    """What a rule is to be instead. It keeps its place and its id."""

    reason: Reason = ""


class CreateSegment(Body, frozen=True, kw_only=True):
    """A segment that is to be."""

    key: Key
    description: Text = ""
    constraints: tuple[ConstraintBody, ...] = ()
    targeting_keys: tuple[str, ...] = ()
    reason: Reason = ""


class MembersBody(Body, frozen=True, kw_only=True):
    """A segment's long list, as the segment shows it: by sending it back, it is kept."""

    digest: str | None
    count: int | None = None
    version: int | None = None


class ReplaceSegment(Body, frozen=True, kw_only=True):
    """All of a segment but its names; what is left out is gone afterwards. Only where a segment has a long list, what
    becomes of it must be said: send ``members`` as they were shown to keep it, or ``null`` to do without."""

    description: Text = ""
    constraints: tuple[ConstraintBody, ...] = ()
    targeting_keys: tuple[str, ...] = ()
    members: MembersBody | UnsetType | None = UNSET
    reason: Reason = ""


class EditMembers(Body, frozen=True, kw_only=True):
    """Targeting keys that a segment is to list, and others that it is not. Those that it lists already, and those that
    it does not list anyway, may be among them."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    reason: Reason = ""


class ImportDocument(Body, frozen=True, kw_only=True):
    """A document of another flag service, and the environment that it is to go to.

    What cannot be carried over exactly is refused. ``accept`` says what may be taken all the same: ``disputed`` is what
    the other service's own engines answer differently from one another, ``redrawn`` are shares that stay as large but
    fall on other users. A refusal keeps everything out, unless ``skip_refused`` lets the rest in.
    """

    format: Format
    environment: str
    document: dict[str, Any]
    accept: tuple[Acceptable, ...] = ()
    skip_refused: bool = False
    reason: Reason = ""


class Explain(Body, frozen=True, kw_only=True):
    """A context: ``targeting_key`` and any other attributes. Times are text, as RFC 3339 has them."""

    context: dict[str, model.Scalar | list[model.Scalar] | None] = {}


class IssueKey(Body, frozen=True, kw_only=True):
    """An SDK key that is to be: for servers, or (``client``) for browsers and phones, which only see values."""

    name: Name
    environment: str
    kind: KeyKind = "server"
    expires_at: datetime | None = None


class CreateHook(Body, frozen=True, kw_only=True):
    """A hook that is to be. Its name is what history calls whoever switches the flag off by it."""

    name: Name


class IssueToken(Body, frozen=True, kw_only=True):
    """An admin token that is to be. No projects, or no environments, means all of them."""

    name: Name
    role: Role
    projects: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    expires_at: datetime | None = None


OPTIONAL_BODIES: Final = (Why, SwitchOn)
"""A request without any body means the same as one with an empty document."""

_ModelT = TypeVar("_ModelT")


def model_of(body: Any, of: type[_ModelT]) -> _ModelT:
    """A body, or a part of one, as the type that the services take; fields that it does not have are left
    out."""
    return msgspec.convert(msgspec.to_builtins(body), of)
