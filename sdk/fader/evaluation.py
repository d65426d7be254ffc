"""What an evaluation answers, in OpenFeature's words."""

from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Reason(StrEnum):
    """Why a flag gave what it gave."""

    STATIC = "STATIC"
    """The flag is on and has no rules."""
    TARGETING_MATCH = "TARGETING_MATCH"
    """A rule let the context in."""
    SPLIT = "SPLIT"
    """The same, and a percentage or weights decided."""
    DISABLED = "DISABLED"
    """The flag is off."""
    PREREQUISITE_FAILED = "PREREQUISITE_FAILED"
    """Another flag is not as this one wants it."""
    DEFAULT = "DEFAULT"
    """No rule let the context in."""
    ERROR = "ERROR"
    """The caller's default was used; the error code says why."""


class ErrorCode(StrEnum):
    """Why the caller's default was used."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    PROVIDER_NOT_READY = "PROVIDER_NOT_READY"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    GENERAL = "GENERAL"


class EvaluationDetails(Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """An answer and how it came about.

    ``value`` is the variant's, or the caller's default. ``enabled`` says whether the variant served is
    another than the off variant. ``revision`` is the environment's, 0 before any flags have come.
    """

    key: str
    value: T
    reason: Reason
    variant: str | None = None
    enabled: bool = False
    rule: str | None = None
    revision: int = 0
    error_code: ErrorCode | None = None
    error_message: str | None = None
