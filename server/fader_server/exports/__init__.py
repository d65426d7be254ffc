"""Flags and segments of an environment as documents of other flag services: the way out.

Pure functions over values, without I/O. What a format cannot say is never left out in silence: it comes back as notes,
each with its path, and the flag is not in the document.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from fader import model
from fader_server.exports import flagd, unleash
from fader_server.exports.exported import Exported
from fader_server.imports.wanted import Acceptable
from fader_server.storage.records import Definition

Format: TypeAlias = Literal["unleash", "flagd"]

FORMATS: Final[
    Mapping[Format, Callable[[model.Snapshot, Mapping[str, Definition], frozenset[Acceptable]], Exported]]
] = {
    "unleash": unleash.exported,
    "flagd": flagd.exported,
}
"""How to write an environment in each format, with what people see of its flags, and what may be in it although it is
not exact."""
