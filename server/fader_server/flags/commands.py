"""What the services are told, and what they tell back: frozen values."""

from msgspec import Struct

from fader import model
from fader_server.storage.records import ConfigurationState, Definition, FlagKind


class Intent(Struct, frozen=True, kw_only=True):
    """Who wants a change, and why; a dry run decides everything and writes nothing. With ``force`` also what goes on by
    itself, such as a ramp, does not stand in the way."""

    actor: str
    reason: str = ""
    dry_run: bool = False
    force: bool = False


class Target(Struct, frozen=True):
    """A flag in an environment; with ``if_revision``, only as long as its last change there was that one."""

    project: str
    flag: str
    environment: str
    if_revision: int | None = None


class NewFlag(Struct, frozen=True, kw_only=True):
    """A flag that is to be. Without an ``off_variant``, a boolean flag gets its only possible one."""

    key: str
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    kind: FlagKind = "release"
    type: model.ValueType = "boolean"
    variants: tuple[model.Variant, ...] = ()
    off_variant: str | None = None


class FlagPatch(Struct, frozen=True, kw_only=True):
    """What is to become different about a flag's definition; ``None`` leaves a field as it is."""

    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] | None = None
    kind: FlagKind | None = None
    variants: tuple[model.Variant, ...] | None = None
    off_variant: str | None = None


class FlagState(Struct, frozen=True):
    """A flag with its configuration in each environment of its project, by environment."""

    definition: Definition
    configurations: dict[str, ConfigurationState]


class Written(Struct, frozen=True):
    """What a command made of a flag in one environment.

    ``revision`` is the environment's after the command; ``changed`` is false if everything was so already,
    and then no revision was used.
    """

    flag: FlagState
    environment: str
    revision: int
    changed: bool
