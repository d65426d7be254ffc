"""What Unleash's client API answers, as values: whole, or as events of its delta form. Features and segments are in it
as bytes that were encoded before."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

_MOST_EVENT_ID = 2**32 - 1
"""Of what Unleash's newer SDKs can read; on a greater one they would refuse the message, and say nothing."""


class Document(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything below. All fields are named as in Unleash's JSON, in snake case."""


class Query(Document, frozen=True, kw_only=True):
    """What was asked for, as far as it limits the answer."""

    project: tuple[str, ...]
    environment: str
    inline_segment_constraints: bool
    name_prefix: str | UnsetType = UNSET
    tag: tuple[tuple[str, str], ...] | UnsetType = UNSET


class Meta(Document, frozen=True):
    """Which state it is."""

    revision_id: int
    etag: str
    query_hash: str


class Features(Document, frozen=True, kw_only=True):
    """Everything. ``segments`` are left out for SDKs that do not know them."""

    version: int = 2
    features: list[Raw]
    segments: list[Raw] | UnsetType = UNSET
    query: Query
    meta: Meta


class Hydration(Document, frozen=True, tag_field="type", tag="hydration"):
    """Everything, as an event. SDKs refuse it without ``segments``."""

    event_id: int
    features: list[Raw]
    segments: list[Raw]


class FeatureUpdated(Document, frozen=True, tag_field="type", tag="feature-updated"):
    """A feature is new, or as it was not before."""

    event_id: int
    feature: Raw


class FeatureRemoved(Document, frozen=True, tag_field="type", tag="feature-removed"):
    """A feature is gone."""

    event_id: int
    feature_name: str
    project: str


class SegmentUpdated(Document, frozen=True, tag_field="type", tag="segment-updated"):
    """A segment is new, or as it was not before."""

    event_id: int
    segment: Raw


class SegmentRemoved(Document, frozen=True, tag_field="type", tag="segment-removed"):
    """A segment is gone."""

    event_id: int
    segment_id: int


Event: TypeAlias = Hydration | FeatureUpdated | FeatureRemoved | SegmentUpdated | SegmentRemoved


class Events(Document, frozen=True):
    """What leads from one state to another. With an event of a type that they do not know, SDKs drop all of them."""

    events: tuple[Event, ...]


def event_id(revision: int) -> int:
    """A revision, as a number that every SDK can read."""
    return min(revision, _MOST_EVENT_ID)


def as_list(pieces: Iterable[Any]) -> list[Raw]:
    """Pieces of JSON, as a list."""
    return [Raw(piece) for piece in pieces]
