"""LaunchDarkly's own formats: what its SDKs are sent, and what its REST API answers about flags and segments.

As lenient as these are: nearly every field may be absent or null, and fields that are not known are ignored.
"""

from typing import Any

import msgspec
from msgspec import Struct


class LaunchDarklyModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything below. All fields are named as in LaunchDarkly's JSON, in snake case."""


class Clause(LaunchDarklyModel, frozen=True, kw_only=True):
    """A test of one attribute, which any of the values may pass."""

    attribute: str = ""
    op: str = ""
    values: tuple[Any, ...] | None = None
    negate: bool | None = None
    context_kind: str | None = None


class WeightedVariation(LaunchDarklyModel, frozen=True, kw_only=True):
    """A variation's share of a rollout, in thousandths of a percent."""

    variation: int = 0
    weight: int = 0


class Rollout(LaunchDarklyModel, frozen=True, kw_only=True):
    """How contexts are shared out among variations, by a hash of one attribute."""

    variations: tuple[WeightedVariation, ...] | None = None
    bucket_by: str | None = None
    context_kind: str | None = None
    kind: str | None = None


class Serving(LaunchDarklyModel, frozen=True, kw_only=True):
    """Which variation is served, or how several are shared out."""

    variation: int | None = None
    rollout: Rollout | None = None


class Rule(Serving, frozen=True, kw_only=True):
    """Serves those for whom all clauses hold. The REST API calls its ``id`` ``_id``."""

    id: str | None = None
    rest_id: str | None = msgspec.field(name="_id", default=None)
    description: str | None = None
    clauses: tuple[Clause, ...] | None = None


class Target(LaunchDarklyModel, frozen=True, kw_only=True):
    """Keys that are served a variation before any rule is asked."""

    variation: int = 0
    values: tuple[str, ...] | None = None
    context_kind: str | None = None


class Prerequisite(LaunchDarklyModel, frozen=True, kw_only=True):
    """Another flag that must be on, and serve a variation."""

    key: str
    variation: int = 0


class Settings(LaunchDarklyModel, frozen=True, kw_only=True):
    """What a flag is in one environment."""

    on: bool = False
    off_variation: int | None = None
    fallthrough: Serving | None = None
    targets: tuple[Target, ...] | None = None
    context_targets: tuple[Target, ...] | None = None
    rules: tuple[Rule, ...] | None = None
    prerequisites: tuple[Prerequisite, ...] | None = None
    archived: bool | None = None


class SdkFlag(Settings, frozen=True, kw_only=True):
    """A flag as SDKs are sent it: all about one environment."""

    variations: tuple[Any, ...] | None = None
    deleted: bool | None = None


class Variation(LaunchDarklyModel, frozen=True, kw_only=True):
    """A value that a flag can take, and its name, as the REST API has them."""

    value: Any = None
    name: str | None = None


class RestFlag(LaunchDarklyModel, frozen=True, kw_only=True):
    """A flag as the REST API has it, with its settings by environment."""

    key: str
    name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    temporary: bool | None = None
    archived: bool | None = None
    variations: tuple[Variation, ...] = ()
    environments: dict[str, Settings] = {}


class SegmentRule(LaunchDarklyModel, frozen=True, kw_only=True):
    """One way of belonging to a segment: all clauses hold, for a share of those for whom they do."""

    clauses: tuple[Clause, ...] | None = None
    weight: int | None = None


class Segment(LaunchDarklyModel, frozen=True, kw_only=True):
    """Contexts by key, and by rules. Who is included is a member; who is excluded is none by a rule."""

    key: str = ""
    included: tuple[str, ...] | None = None
    excluded: tuple[str, ...] | None = None
    included_contexts: tuple[Target, ...] | None = None
    excluded_contexts: tuple[Target, ...] | None = None
    rules: tuple[SegmentRule, ...] | None = None
    unbounded: bool | None = None
    deleted: bool | None = None
