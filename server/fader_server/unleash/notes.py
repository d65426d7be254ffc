"""Notes on what a translation could not carry over exactly, each with the place that it is about."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

Severity: TypeAlias = Literal["remark", "disputed", "redrawn", "differs"]
"""What a note means for those whom a flag answers.

``remark``: nobody is answered otherwise than before; somebody may want to know all the same.
``disputed``: the engines that read the foreign format answer differently from one another here, and Fader answers as
one of them does.
``redrawn``: as many as before are let in, or given each variant, but not the same ones.
``differs``: somebody is answered otherwise than before.
"""


class Note(Struct, frozen=True):
    """One thing to be told about a translation.

    ``path`` leads to it from the feature or segment, such as ``strategies[0].constraints[1].value``; it is
    empty where the whole is meant.
    """

    path: str
    text: str
    severity: Severity = "differs"

    @property
    def is_remark(self) -> bool:
        """Whether nobody is answered otherwise than before."""
        return self.severity == "remark"


class Notebook:
    """Collects notes; ``at`` gives a view that writes under a longer path into the same book."""

    def __init__(self, path: str = "", notes: list[Note] | None = None) -> None:
        self._path = path
        self._notes: list[Note] = [] if notes is None else notes

    def at(self, step: str | int) -> "Notebook":
        """The same book, one step further down: a field's name or an index."""
        if isinstance(step, int):
            return Notebook(f"{self._path}[{step}]", self._notes)
        return Notebook(f"{self._path}.{step}" if self._path else step, self._notes)

    def along(self, path: str) -> "Notebook":
        """The same book, several steps further down: a path as notes have it."""
        return Notebook(self._along(path), self._notes)

    def write(self, text: str, severity: Severity = "differs") -> None:
        """Note something about the place that this view stands for."""
        self._notes.append(Note(self._path, text, severity))

    def remark(self, text: str) -> None:
        """Note something that makes no difference to answers."""
        self.write(text, "remark")

    def add(self, notes: Iterable[Note]) -> None:
        """Add what is noted elsewhere, with paths that lead on from this view's."""
        self._notes.extend(replace(note, path=self._along(note.path)) for note in notes)

    @property
    def notes(self) -> tuple[Note, ...]:
        """Everything that was written into the book, each once, in order."""
        return tuple(dict.fromkeys(self._notes))

    def _along(self, path: str) -> str:
        joint = "." if self._path and path and not path.startswith("[") else ""
        return f"{self._path}{joint}{path}"
