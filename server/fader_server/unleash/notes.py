"""Notes on what a translation could not carry over exactly, each with the place that it is about."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace


class Note(Struct, frozen=True):
    """One thing that differs from Unleash after the translation, or may differ.

    ``path`` leads to it from the feature or segment, such as ``strategies[0].constraints[1].value``; it is
    empty where the whole is meant. A remark is only something to know: the same context is answered the same.
    """

    path: str
    text: str
    is_remark: bool = False


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

    def write(self, text: str) -> None:
        """Note something about the place that this view stands for."""
        self._notes.append(Note(self._path, text))

    def remark(self, text: str) -> None:
        """Note something that makes no difference to answers."""
        self._notes.append(Note(self._path, text, is_remark=True))

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
