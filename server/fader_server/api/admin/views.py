"""The documents that the admin API answers with."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from fader import model
from fader_server.access import AdminPrincipal
from fader_server.access.issuing import IssuedKey, IssuedToken
from fader_server.api.admin.client_views import propagation_view
from fader_server.clients.propagation import Propagation, together
from fader_server.flags.commands import FlagState, Written
from fader_server.flags.member_plans import count_of
from fader_server.flags.segments import SegmentState
from fader_server.ramping.hooks import MadeHook
from fader_server.storage.records import (
    AdminToken,
    ChangeKind,
    ConfigurationState,
    DarkLaunch,
    EnvironmentState,
    FlagKind,
    Hook,
    KeyKind,
    LoggedChange,
    NodePropagation,
    Role,
    SdkKey,
)
from fader_server.unleash.dialects import inlined
from fader_server.unleash.outward import Sight

ItemT = TypeVar("ItemT")

_MOST_WARNINGS: Final = 20
"""As many as somebody reads."""


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
    """A flag in one environment. ``revision`` is that of its last change there, and ``ramp`` the ramp that it is in."""

    enabled: bool
    rules: tuple[model.Rule, ...]
    prerequisites: tuple[model.Prerequisite, ...]
    revision: int
    updated_at: datetime
    updated_by: str
    ramp: str | None


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


class Warning(Struct, frozen=True):  # noqa: A001 (what it is called on the wire)
    """Something that is fine, and that clients other than Fader's SDKs see otherwise, or may. ``field`` leads to it in
    the flag's configuration; it is empty where the whole is meant."""

    clients: Literal["unleash"]
    field: str
    message: str


class FlagWritten(Struct, frozen=True):
    """What a command made of a flag. If everything was so already, ``changed`` is false and no revision was
    used. ``warnings`` tell of what Unleash's SDKs see otherwise."""

    flag: FlagView
    environment: str
    revision: int
    changed: bool
    warnings: tuple[Warning, ...]


class Compatibility(Struct, frozen=True):
    """What Unleash's SDKs see of a flag in an environment. Where it is not ``exact``, they let in fewer than Fader's
    SDK does, never more. ``feature`` is what they are sent, with segments written out."""

    flag: str
    environment: str
    exact: bool
    warnings: tuple[Warning, ...]
    feature: dict[str, Any]


class MembersView(Struct, frozen=True):
    """How many targeting keys a segment lists. Where they are more than 1,000 they are not shown with it, and the list
    has a version, which grows by one with each change, and a digest, which tells it from others."""

    count: int
    version: int | None
    digest: str | None


class SegmentView(Struct, frozen=True):
    """A named set of contexts. ``used_by`` are the flags whose rules name it. Many ``targeting_keys`` are not shown
    here, but by ``/members``; ``members`` says how many there are."""

    key: str
    id: int
    description: str
    constraints: tuple[model.Constraint, ...]
    targeting_keys: tuple[str, ...]
    members: MembersView
    created_at: datetime
    updated_at: datetime
    used_by: tuple[str, ...]


class Key(Struct, frozen=True):
    """An SDK key, without its secret."""

    id: str
    name: str
    project: str
    environment: str
    kind: KeyKind
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class HookView(Struct, frozen=True):
    """A URL at which an alert switches a flag off, without its secret."""

    id: str
    name: str
    project: str
    environment: str
    flag: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None


class NewHook(HookView, frozen=True):
    """A hook that was made just now. ``path`` comes behind the server's own URL; it is shown this once."""

    path: str


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


class ChangePropagation(Struct, frozen=True):
    """How a change has reached those SDK processes that were connected: how many there were, how many had applied or
    refused it when that was recorded, and how long it took, in milliseconds; ``null`` where nobody was timed."""

    clients: int
    applied: int
    refused: int
    waiting: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Change(Struct, frozen=True):
    """One entry of the history: what it was about, before and after; ``null`` where it did not, or no longer,
    exist. ``propagation`` is there once the change has reached all, or after 15 seconds."""

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
    propagation: ChangePropagation | None = None


class UsageItem(Struct, frozen=True):
    """How often a flag was evaluated to a variant, and when last."""

    environment: str
    variant: str
    count: int
    last_at: datetime


class DarkLaunchItem(Struct, frozen=True, kw_only=True):
    """What became of dark launches: in how many calls the two were ``compared``, in how many of those they did not
    return the same or only one of them raised, and how many candidates did not run because too many others did.

    ``control_ms`` and ``candidate_ms`` are what a call took on average, where both returned or both raised."""

    environment: str
    compared: int
    mismatched: int
    candidate_raised: int
    control_raised: int
    dropped: int
    control_ms: float | None
    candidate_ms: float | None


class FlagUsage(Struct, frozen=True):
    """Evaluations of a flag and its dark launches within the hours asked for, and when it was last evaluated at all."""

    items: list[UsageItem]
    last_evaluated_at: datetime | None
    dark_launches: list[DarkLaunchItem]


def dark_launch_item(launch: DarkLaunch) -> DarkLaunchItem:
    """What the API says of it."""
    calls = launch.both_ended_alike
    return DarkLaunchItem(
        environment=launch.environment,
        compared=launch.compared,
        mismatched=launch.mismatched,
        candidate_raised=launch.candidate_raised,
        control_raised=launch.control_raised,
        dropped=launch.dropped,
        control_ms=launch.control_us / calls / 1000 if calls else None,
        candidate_ms=launch.candidate_us / calls / 1000 if calls else None,
    )


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
        ramp=state.ramp,
    )


def written_view(written: Written, principal: AdminPrincipal, sight: Sight | None) -> FlagWritten:
    """A command's outcome as this principal may see it, and as Unleash's SDKs do; ``None`` where that is of no
    interest."""
    return FlagWritten(
        flag=flag_view(written.flag, principal),
        environment=written.environment,
        revision=written.revision,
        changed=written.changed,
        warnings=() if sight is None else _warnings(sight),
    )


def compatibility_view(flag: str, environment: str, sight: Sight) -> Compatibility:
    """What Unleash's SDKs see of a flag."""
    feature = inlined(sight.feature, sight.segments)
    return Compatibility(flag, environment, sight.is_exact, _warnings(sight), msgspec.to_builtins(feature))


def _warnings(sight: Sight) -> tuple[Warning, ...]:
    return tuple(Warning("unleash", note.path, note.text) for note in sight.notes[:_MOST_WARNINGS])


def environment_view(state: EnvironmentState) -> Environment:
    """An environment."""
    return msgspec.convert(state, Environment, from_attributes=True)


def segment_view(state: SegmentState) -> SegmentView:
    """A segment with its users."""
    segment = state.segment
    listed = segment.members
    return SegmentView(
        key=segment.key,
        id=segment.id,
        description=segment.description,
        constraints=segment.constraints,
        targeting_keys=segment.targeting_keys,
        members=MembersView(
            count_of(segment), None if listed is None else listed.version, None if listed is None else listed.digest
        ),
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


def hook_view(hook: Hook) -> HookView:
    """A hook."""
    return msgspec.convert(hook, HookView, from_attributes=True)


def new_hook_view(made: MadeHook) -> NewHook:
    """A hook that was made just now."""
    return NewHook(**msgspec.structs.asdict(made.hook), path=f"/hooks/v1/{made.secret}")


def token_view(token: AdminToken) -> Token:
    """An admin token."""
    return msgspec.convert(token, Token, from_attributes=True)


def new_token_view(issued: IssuedToken) -> NewToken:
    """An admin token that was made just now."""
    return NewToken(**msgspec.structs.asdict(issued.token), secret=issued.secret)


def change_view(change: LoggedChange, nodes: Sequence[NodePropagation] = ()) -> Change:
    """An entry of the history; its documents are passed on as they were written.

    Args:
        change: The entry.
        nodes: How it has reached the clients of each node.
    """
    written = {field: value for field, value in msgspec.structs.asdict(change).items() if field != "epoch"}
    return Change(**written, propagation=change_propagation(nodes) if nodes else None)


def change_views(logged: Iterable[LoggedChange], reached: Iterable[NodePropagation]) -> list[Change]:
    """Entries of the history, each with how it has reached clients."""
    by_revision: dict[tuple[str, str, int], list[NodePropagation]] = defaultdict(list)
    for one in reached:
        by_revision[one.environment, one.epoch, one.revision].append(one)
    return [
        change_view(change, by_revision.get((change.environment, change.epoch, change.revision), ()))
        for change in logged
    ]


def change_propagation(nodes: Sequence[NodePropagation]) -> ChangePropagation:
    """How a change has reached clients, of all nodes together."""
    clients, applied, refused = (
        sum(getattr(node, field) for node in nodes) for field in ("clients", "applied", "refused")
    )
    timed = together(Propagation(buckets=node.buckets, max_ms=node.max_ms) for node in nodes)
    seen = propagation_view(timed)
    return ChangePropagation(
        clients=clients,
        applied=applied,
        refused=refused,
        waiting=clients - applied - refused,
        p50_ms=None if seen is None else seen.p50_ms,
        p99_ms=None if seen is None else seen.p99_ms,
        max_ms=None if seen is None else seen.max_ms,
    )
