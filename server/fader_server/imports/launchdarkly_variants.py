"""LaunchDarkly's variations as variants of ours: each with a name, and one of them served while the flag is off."""

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from fader import model
from fader_server.unleash.notes import Notebook, Severity

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._~-]+")
_LONGEST_NAME: Final = 64


class Variants(Struct, frozen=True, kw_only=True):
    """The variations of a flag under names of ours, in their order."""

    type: model.ValueType
    variants: tuple[model.Variant, ...]
    names: tuple[str, ...]
    off: str

    def name_of(self, variation: int, notebook: Notebook) -> str | None:
        """Our name of a variation; ``None``, with a note, where there is none."""
        if 0 <= variation < len(self.names):
            return self.names[variation]
        notebook.write(f"There is no variation {variation}.")
        return None


def variants_of(
    values: Sequence[Any],
    names: Sequence[str | None],
    off: int | None,
    notebook: Notebook,
    off_place: Notebook,
    *,
    is_ever_off: bool,
) -> Variants:
    """The variants of a flag.

    Args:
        values: Of its variations.
        names: Of its variations, as far as they have any.
        off: The one that is served while the flag is off, by its number; without one, the caller's own default is.
        notebook: Takes what cannot be carried exactly, under the path of the variations.
        off_place: The same for ``off``.
        is_ever_off: Whether it is off for anybody, as long as nobody switches it.
    """
    if off is not None and not 0 <= off < len(values):
        off_place.write(f"There is no variation {off}.")
        off = None
    if any(isinstance(value, bool) for value in values):
        return _booleans(values, off, notebook, off_place, "differs" if is_ever_off else "remark")
    ours: list[str] = []
    for position, (value, name) in enumerate(zip(values, names, strict=True), start=1):
        ours.append(_free(_name(value, name, position), ours))
    variants = [model.Variant(name=name, value=value) for name, value in zip(ours, values, strict=True)]
    off_name = _free(model.OFF, ours) if off is None else ours[off]
    if off is None:
        # Without an off variation everybody gets the caller's own default, which is what no value stands for.
        variants.append(model.Variant(name=off_name))
    return Variants(type=_type(values), variants=tuple(variants), names=tuple(ours), off=off_name)


def _booleans(
    values: Sequence[Any], off: int | None, notebook: Notebook, off_place: Notebook, severity: Severity
) -> Variants:
    if not all(isinstance(value, bool) for value in values) or sorted(values) != [False, True]:
        notebook.write("A boolean flag has just the values true and false here.")
    if off is None:
        off_place.write(
            "While it is off, applications get their own default; here a boolean flag is false then.", severity
        )
    elif values[off] is not False:
        off_place.write("While it is off, the flag is true; here a boolean flag is false then.", severity)
    names = tuple(model.ON if value else model.OFF for value in values)
    return Variants(type="boolean", variants=(), names=names, off=model.OFF)


def _type(values: Sequence[Any]) -> model.ValueType:
    if values and all(isinstance(value, str) for value in values):
        return "string"
    return "number" if values and all(isinstance(value, int | float) for value in values) else "object"


def _name(value: Any, name: str | None, position: int) -> str:
    """What a variation is called: as it is there; else like its value, if that is a word; else by its number."""
    for candidate in (name, value if isinstance(value, str) else None):
        found = _NOT_IN_NAMES.sub("-", candidate or "").strip("-.")
        if found and len(found) <= _LONGEST_NAME and (candidate == name or found == candidate):
            return found
    return f"variation-{position}"


def _free(name: str, taken: Sequence[str]) -> str:
    # `disabled` is what other protocols call a flag that is off.
    candidate, copies = name, 1
    while candidate in taken or candidate == "disabled":
        copies += 1
        candidate = f"{name}-{copies}"
    return candidate
