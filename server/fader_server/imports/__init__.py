"""Documents of other flag services as flags and segments of ours.

Pure functions over values, without I/O; what they come to is written by ``fader_server.flags.importing``. Each format
is a module with one function, listed in ``FORMATS``. What cannot be carried over exactly is never dropped in silence:
it comes back as notes, each with its path.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from fader_server.imports import flagd, launchdarkly, unleash
from fader_server.imports.wanted import Wanted

Format: TypeAlias = Literal["unleash", "launchdarkly", "flagd"]

FORMATS: Final[Mapping[Format, Callable[[Mapping[str, object], str], Wanted]]] = {
    "unleash": unleash.wanted,
    "launchdarkly": launchdarkly.wanted,
    "flagd": flagd.wanted,
}
"""How to read a document of each format, given the name of the environment that it is to go to."""
