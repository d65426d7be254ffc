"""Unleash's own format, as its client API sends it and its SDKs read it.

As lenient as Unleash is: nearly every field may be absent or null, fields that are not known are ignored, and
parameters and values may be of any JSON kind. What they mean is decided where they are translated.
"""

from typing import Any

import msgspec
from msgspec import Struct


class UnleashModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything below. All fields are named as in Unleash's JSON, in snake case."""


class Payload(UnleashModel, frozen=True):
    """What a variant carries: always text, with a ``type`` (``string``, ``number``, ``json``, ``csv``) to
    read it by."""

    type: str = "string"
    value: Any = ""


class Override(UnleashModel, frozen=True):
    """Context values that are given a variant before any hash is asked. Only variants of a feature have
    them."""

    context_name: str = ""
    values: tuple[Any, ...] | None = None


class Variant(UnleashModel, frozen=True):
    """One of the variants of a feature or of a strategy, with its share as a weight."""

    name: str
    weight: int | float | None = None
    stickiness: str | None = None
    payload: Payload | None = None
    overrides: tuple[Override, ...] | None = None


class Constraint(UnleashModel, frozen=True):
    """A test of one context field. Operators that compare with one thing read ``value``, the others
    ``values``."""

    context_name: str = ""
    operator: str = ""
    values: tuple[Any, ...] | None = None
    value: Any = None
    inverted: bool | None = None
    case_insensitive: bool | None = None


class Strategy(UnleashModel, frozen=True):
    """One way of being let in. ``id``, ``title`` and ``disabled`` are sent by the admin API only."""

    name: str
    id: str | None = None
    title: str | None = None
    disabled: bool | None = None
    parameters: dict[str, Any] | None = None
    constraints: tuple[Constraint, ...] | None = None
    segments: tuple[int, ...] | None = None
    variants: tuple[Variant, ...] | None = None


class Dependency(UnleashModel, frozen=True):
    """Another feature that must be on (or off) and, where variants are named, give one of them."""

    feature: str
    enabled: bool | None = None
    variants: tuple[str, ...] | None = None


class Feature(UnleashModel, frozen=True):
    """A flag as Unleash has it: on when enabled and any of its strategies lets the context in, or it has
    none."""

    name: str
    enabled: bool = False
    type: str | None = None
    description: str | None = None
    project: str | None = None
    stale: bool | None = None
    impression_data: bool | None = None
    strategies: tuple[Strategy, ...] | None = None
    variants: tuple[Variant, ...] | None = None
    dependencies: tuple[Dependency, ...] | None = None


class Segment(UnleashModel, frozen=True):
    """A reusable list of constraints, which all must hold. Strategies name it by its number."""

    id: int
    name: str | None = None
    constraints: tuple[Constraint, ...] | None = None


class Event(UnleashModel, frozen=True):
    """One step of the delta form: ``type`` says which of the other fields it fills."""

    type: str
    event_id: int = 0
    features: tuple[Feature, ...] | None = None
    segments: tuple[Segment, ...] | None = None
    feature: Feature | None = None
    feature_name: str | None = None
    segment: Segment | None = None
    segment_id: int | None = None


class State(UnleashModel, frozen=True):
    """All features and segments of one environment, each under its name or number."""

    features: dict[str, Feature] = {}
    segments: dict[int, Segment] = {}


class Document(UnleashModel, frozen=True):
    """An answer of Unleash's client API: either all ``features`` and ``segments``, or the ``events`` of a
    delta."""

    features: tuple[Feature, ...] | None = None
    segments: tuple[Segment, ...] | None = None
    events: tuple[Event, ...] | None = None


def read_document(document: object) -> Document:
    """Read a decoded JSON document of Unleash's.

    Args:
        document: What ``json.loads`` or ``msgspec.json.decode`` made of the answer.

    Raises:
        msgspec.ValidationError: When it is not of Unleash's form; the message names the place.
    """
    return msgspec.convert(document, Document, strict=False)
