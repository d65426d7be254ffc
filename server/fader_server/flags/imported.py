"""What an import is told, and what it tells back: frozen values."""

from typing import Literal, TypeAlias

from msgspec import Struct

from fader_server.errors import FieldError
from fader_server.imports.wanted import MENDS, Acceptable, Wanted, refusals
from fader_server.unleash.notes import Note

Outcome: TypeAlias = Literal["created", "updated", "unchanged", "refused"]


class ImportCommand(Struct, frozen=True, kw_only=True):
    """What is to be imported, and where. Unless refused things are to be skipped, one of them keeps all others out."""

    project: str
    environment: str
    wanted: Wanted
    accepted: frozenset[Acceptable] = frozenset()
    skip_refused: bool = False


class Imported(Struct, frozen=True, kw_only=True):
    """What has become of one flag or segment. Paths lead from the thing in the foreign document."""

    key: str
    outcome: Outcome
    refusals: tuple[FieldError, ...] = ()
    remarks: tuple[Note, ...] = ()


class ImportReport(Struct, frozen=True, kw_only=True):
    """What has become of all of a document; ``revision`` is the environment's afterwards."""

    environment: str
    revision: int
    flags: tuple[Imported, ...]
    segments: tuple[Imported, ...]
    remarks: tuple[str, ...]

    @property
    def refused(self) -> tuple[Imported, ...]:
        """What was refused of it."""
        return tuple(one for one in (*self.segments, *self.flags) if one.outcome == "refused")


def refused(notes: tuple[Note, ...], accepted: frozenset[Acceptable]) -> tuple[FieldError, ...]:
    """What keeps a thing out, and what to do about it."""
    return tuple(FieldError(note.path, note.text, MENDS.get(note.severity)) for note in refusals(notes, accepted))
