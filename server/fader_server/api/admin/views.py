"""The documents that the admin API answers with."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from fader import model
from fader_server.access import AdminPrincipal
from fader_server.access.issuing import IssuedKey, IssuedToken
from fader_server.flags.commands import FlagState, Written
from fader_server.flags.segments import SegmentState
from fader_server.storage.records import (
    AdminToken,
    ChangeKind,
    ConfigurationState,
    EnvironmentState,
    FlagKind,
    LoggedChange,
    Role,
    SdkKey,
)

ItemT = TypeVar("ItemT")


class Page(Struct, Generic[ItemT], frozen=True):
    """A part of a list. ``next_cursor`` asks for the part that follows; ``null`` says that there is none."""

    items: list[ItemT]
    next_cursor: str | None


class Identity(Struct, frozen=True):
    """Who you are, as the server sees it."""

    name: str
    role: Role
    projects: tuple[str, ...]
    environments: tuple[str, ...]
    server_version: str


class Project(Struct, frozen=True):
    """A namespace of flags, segments and environments."""

    key: str
    description: str
    created_at: datetime


class Environment(Struct, frozen=True):
    """A place where flags are switched. ``revision`` grows by one with each change in it."""

    key: str
    project: str
    revision: int
    epoch: str
    created_at: datetime


class FlagConfig(Struct, frozen=True):
    """A flag in one environment. ``revision`` is that of its last change there."""

    enabled: bool
    rules: tuple[model.Rule, ...]
    prerequisites: tuple[model.Prerequisite, ...]
    revision: int
    updated_at: datetime
    updated_by: str


class FlagView(Struct, frozen=True):
    """A flag, with its configuration in all environments that your token may see."""

    key: str
    project: str
    description: str
    owner: str
    tags: tuple[str, ...]
    kind: FlagKind
    type: model.ValueType
    variants: tuple[model.Variant, ...]
    off_variant: str
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    environments: dict[str, FlagConfig]


class FlagWritten(Struct, frozen=True):
    """What a command made of a flag. If everything was so already, ``changed`` is false and no revision was
    used."""

    flag: FlagView
    environment: str
    revision: int
    changed: bool


class SegmentView(Struct, frozen=True):
    """A named set of contexts. ``used_by`` are the flags whose rules name it."""

    key: str
    id: int
    description: str
    constraints: tuple[model.Constraint, ...]
    targeting_keys: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    used_by: tuple[str, ...]


class Key(Struct, frozen=True):
    """An SDK key, without its secret."""

    id: str
    name: str
    project: str
    environment: str
    kind: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKey(Key, frozen=True):
    """An SDK key with its secret, which is shown this once."""

    secret: str


class Token(Struct, frozen=True):
    """An admin token, without its secret."""

    id: str
    name: str
    role: Role
    projects: tuple[str, ...]
    environments: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewToken(Token, frozen=True):
    """An admin token with its secret, which is shown this once."""

    secret: str


class Change(Struct, frozen=True):
    """One entry of the history: what it was about, before and after; ``null`` where it did not, or no longer,
    exist."""

    id: int
    project: str
    environment: str
    revision: int
    kind: ChangeKind
    key: str
    action: str
    actor: str
    at: datetime
    reason: str
    before: Any
    after: Any


class UsageItem(Struct, frozen=True):
    """How often a flag was evaluated to a variant, and when last."""

    environment: str
    variant: str
    count: int
    last_at: datetime


class FlagUsage(Struct, frozen=True):
    """Evaluations of a flag within the hours asked for, and when it was last evaluated at all."""

    items: list[UsageItem]
    last_evaluated_at: datetime | None


def flag_view(state: FlagState, principal: AdminPrincipal) -> FlagView:
    """A flag as this principal may see it."""
    definition = state.definition
    return FlagView(
        key=definition.key,
        project=definition.project,
        description=definition.description,
        owner=definition.owner,
        tags=definition.tags,
        kind=definition.kind,
        type=definition.type,
        variants=definition.variants,
        off_variant=definition.off_variant,
        created_at=definition.created_at,
        updated_at=definition.updated_at,
        archived_at=definition.archived_at,
        environments={
            environment: _flag_config(configured)
            for environment, configured in state.configurations.items()
            if principal.may_enter_environment(environment)
        },
    )


def _flag_config(state: ConfigurationState) -> FlagConfig:
    return FlagConfig(
        enabled=state.configuration.enabled,
        rules=state.configuration.rules,
        prerequisites=state.configuration.prerequisites,
        revision=state.revision,
        updated_at=state.updated_at,
        updated_by=state.updated_by,
    )


def written_view(written: Written, principal: AdminPrincipal) -> FlagWritten:
    """A command's outcome as this principal may see it."""
    return FlagWritten(flag_view(written.flag, principal), written.environment, written.revision, written.changed)


def environment_view(state: EnvironmentState) -> Environment:
    """An environment."""
    return msgspec.convert(state, Environment, from_attributes=True)


def segment_view(state: SegmentState) -> SegmentView:
    """A segment with its users."""
    segment = state.segment
    return SegmentView(
        key=segment.key,
        id=segment.id,
        description=segment.description,
        constraints=segment.constraints,
        targeting_keys=segment.targeting_keys,
        created_at=segment.created_at,
        updated_at=segment.updated_at,
        used_by=state.used_by,
    )


def key_view(key: SdkKey) -> Key:
    """An SDK key."""
    return msgspec.convert(key, Key, from_attributes=True)


def new_key_view(issued: IssuedKey) -> NewKey:
    """An SDK key that was made just now."""
    return NewKey(**msgspec.structs.asdict(issued.key), secret=issued.secret)


def token_view(token: AdminToken) -> Token:
    """An admin token."""
    return msgspec.convert(token, Token, from_attributes=True)


def new_token_view(issued: IssuedToken) -> NewToken:
    """An admin token that was made just now."""
    return NewToken(**msgspec.structs.asdict(issued.token), secret=issued.secret)


def change_view(change: LoggedChange) -> Change:
    """An entry of the history; its documents are passed on as they were written."""
    return Change(**msgspec.structs.asdict(change))


def change_views(logged: Iterable[LoggedChange]) -> list[Change]:
    """Entries of the history."""
    return [change_view(change) for change in logged]
