"""Flags as somebody wants them for a while, on top of what the server says: for tests, and for trying things out."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, ParamSpec, Protocol, Self, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from fader.model import OFF, Flag, Snapshot, ValueType, Variant

P = ParamSpec("P")
R = TypeVar("R")

Wanted: TypeAlias = Mapping[str, Any]
"""Key to the value wanted, to a whole ``Flag``, or to ``None`` for a flag that is not there."""

SERVED: Final = "override"
"""The variant that serves a wanted value which no variant of the flag has."""

NOTHING: Final = Snapshot(project="", environment="", epoch="", revision=0)
"""What evaluation knows while there is nothing to know."""


class Layer(Struct, frozen=True, eq=False):
    """Some flags that lie over what is beneath. One that is ``opaque`` hides everything beneath."""

    wanted: Wanted
    opaque: bool = False


def apply_layers(base: Snapshot | None, layers: Sequence[Layer]) -> Snapshot | None:
    """What is seen from above: later layers cover earlier ones.

    Args:
        base: What the server has sent; ``None`` if nothing yet.
        layers: From the lowest to the highest.

    Returns:
        A snapshot with the flags wanted, or ``base`` itself where there are no layers.
    """
    seen = base
    for layer in layers:
        ground = NOTHING if layer.opaque or seen is None else seen
        flags = dict(ground.flags)
        for key, wanted in layer.wanted.items():
            if wanted is None:
                flags.pop(key, None)
            else:
                flags[key] = flag_serving(key, wanted, flags.get(key))
        seen = replace(ground, flags=flags)
    return seen


def flag_serving(key: str, wanted: Any, existing: Flag | None = None) -> Flag:
    """A flag that gives everybody the same.

    Args:
        key: The flag's key.
        wanted: The value that it has to give, or a whole flag, which is taken as it is.
        existing: The flag as it is now. If it has a variant of that value, this one is served, by its name.

    >>> flag_serving("new-checkout", True).enabled
    True
    >>> flag_serving("button-colour", "red").variants[0].value
    'red'
    """
    if isinstance(wanted, Flag):
        return wanted
    if isinstance(wanted, bool) and (existing is None or existing.type == "boolean"):
        return Flag(key=key, enabled=wanted)
    if existing is not None and existing.type != "boolean":
        if wanted is False:
            return replace(existing, enabled=False)
        if wanted is True:
            on = next((v for v in existing.variants if v.name != existing.off_variant), None)
            return existing if on is None else _serving_first(existing, on)
        for variant in existing.variants:
            if type(variant.value) is type(wanted) and variant.value == wanted:
                return _serving_first(existing, variant)
    return Flag(
        key=key,
        enabled=True,
        type=_type_of(wanted),
        variants=(Variant(name=SERVED, value=wanted), Variant(name=OFF)),
    )


def _serving_first(existing: Flag, variant: Variant) -> Flag:
    # Without rules the first variant is served, and the off variant decides what is_enabled says, so it stays.
    others = tuple(other for other in existing.variants if other.name != variant.name)
    return replace(existing, enabled=True, variants=(variant, *others), prerequisites=(), rules=())


def _type_of(value: Any) -> ValueType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, int | float) else "object"


class Covered(Protocol):
    """What layers can be laid over."""

    def cover(self, layer: Layer) -> None:
        """Lay ``layer`` over everything else."""

    def uncover(self, layer: Layer) -> None:
        """Take ``layer`` away again."""


class Override:
    """Lays a layer over flags: as a context manager, or as a decorator of functions and coroutine functions.

    It can be used again and again, also inside itself. Everybody in the process sees the same flags: overriding is
    not for one thread alone, because work is so often handed on to others.
    """

    def __init__(self, over: Covered, layer: Layer) -> None:
        self._over = over
        self._layer = layer
        self._laid: list[Layer] = []

    def __enter__(self) -> Self:
        # Each time a new object, so that leaving takes away the one that entering has laid.
        layer = Layer(wanted=self._layer.wanted, opaque=self._layer.opaque)
        self._over.cover(layer)
        self._laid.append(layer)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.uncover(self._laid.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function`` so that it runs under these overrides."""
        import inspect  # heavy, and only tests decorate

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **named: P.kwargs) -> Any:
                with self:
                    return await function(*args, **named)

            return later  # type: ignore[return-value]

        @functools.wraps(function)
        def now(*args: P.args, **named: P.kwargs) -> R:
            with self:
                return function(*args, **named)

        return now
