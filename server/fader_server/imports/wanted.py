"""What every foreign format is translated into before anything is written: flags and segments of ours, with notes."""

from typing import Any, Final, Literal, TypeAlias, TypeVar

from msgspec import Struct, ValidationError, convert

from fader import model
from fader_server.storage.records import FlagKind
from fader_server.unleash.notes import Note, Severity

Acceptable: TypeAlias = Literal["disputed", "redrawn"]
"""What may be carried over although it is not exact, if somebody says so (``fader_server.unleash.notes.Severity``)."""

MENDS: Final[dict[Severity, str]] = {
    "disputed": 'Change it there; or accept "disputed", and it is as Fader has it.',
    "redrawn": 'Accept "redrawn" to let as many in, who are others.',
}
"""What to do about a note of either kind."""

_AnyT = TypeVar("_AnyT")


class WantedFlag(Struct, frozen=True, kw_only=True):
    """A flag as it is to be in one environment. ``None`` leaves what is not known of it as it is."""

    flag: model.Flag
    description: str | None = None
    kind: FlagKind | None = None
    tags: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


class WantedSegment(Struct, frozen=True, kw_only=True):
    """A segment as it is to be. One without ``segment`` is only known by its name, so that there has to be one."""

    key: str
    segment: model.Segment | None
    notes: tuple[Note, ...] = ()


class Wanted(Struct, frozen=True, kw_only=True):
    """All of a document. ``remarks`` are about the document as a whole."""

    flags: tuple[WantedFlag, ...] = ()
    segments: tuple[WantedSegment, ...] = ()
    remarks: tuple[str, ...] = ()


class UnreadableError(Exception):
    """The document is not of the format that it is said to be.

    Args:
        path: Where in it.
        detail: What is wrong there.
        hint: What to do about it.
    """

    def __init__(self, path: str, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.path = path
        self.detail = detail
        self.hint = hint

    @classmethod
    def of(cls, error: ValidationError, within: str = "") -> "UnreadableError":
        """The same in our words, with the path of what was converted before the path in it."""
        text, _, place = str(error).partition(" - at `$")
        return cls(f"{within}{place.rstrip('`')}".removeprefix("."), f"{text[:1].lower()}{text[1:]}")


def converted(given: object, of: type[_AnyT], path: str = "") -> _AnyT:
    """A part of a document as a type.

    Args:
        given: What was decoded of it.
        of: The type.
        path: Where it is in the document.

    Raises:
        UnreadableError: if it is not of that type.
    """
    try:
        return convert(given, of, strict=False)
    except ValidationError as error:
        raise UnreadableError.of(error, path) from None


def converted_each(given: object, of: type[_AnyT], path: str) -> dict[str, _AnyT]:
    """The same for each value of an object, so that paths have its names in them."""
    return {name: converted(one, of, f"{path}.{name}") for name, one in converted(given, dict[str, Any], path).items()}


def refusals(notes: tuple[Note, ...], accepted: frozenset[Acceptable]) -> tuple[Note, ...]:
    """Those of some notes that keep a thing from being written: what would not be exact, and was not accepted."""
    return tuple(note for note in notes if note.severity != "remark" and note.severity not in accepted)
