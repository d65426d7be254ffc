"""What is kept, as frozen values: one struct for each noun, in the shape in which the tables return it."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Raw, Struct

from fader import model
from fader_server.ramps.plan import Plan
from fader_server.ramps.progress import Progress

FlagKind: TypeAlias = Literal["release", "ops", "experiment", "permission"]
ChangeKind: TypeAlias = Literal["flag", "segment", "environment", "ramp"]
Role: TypeAlias = Literal["viewer", "editor", "admin"]
KeyKind: TypeAlias = Literal["server", "client"]


class Record(Struct, frozen=True):
    """Base of everything below."""


class Project(Record, frozen=True, kw_only=True):
    """A namespace of flags, segments and environments."""

    key: str
    description: str
    created_at: datetime


class EnvironmentState(Record, frozen=True, kw_only=True):
    """Where an environment stands. ``epoch`` is drawn anew whenever its revisions begin afresh."""

    project: str
    key: str
    epoch: str
    revision: int
    created_at: datetime


class Committed(Record, frozen=True):
    """A change as SDKs apply it, and when it was made."""

    change: model.Change
    at: datetime


class Definition(Record, frozen=True, kw_only=True):
    """The part of a flag that all environments share."""

    project: str
    key: str
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    kind: FlagKind = "release"
    type: model.ValueType = "boolean"
    variants: tuple[model.Variant, ...] = ()
    off_variant: str = model.OFF
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None


class Configuration(Record, frozen=True, kw_only=True):
    """The part of a flag that each environment has for itself: the document in ``flag_environments``."""

    enabled: bool = False
    rules: tuple[model.Rule, ...] = ()
    prerequisites: tuple[model.Prerequisite, ...] = ()


class ConfigurationState(Record, frozen=True, kw_only=True):
    """A configuration with where it applies and who made it so; ``revision`` is that of its last change, and ``ramp``
    the one that it is in, if it is in one."""

    environment: str
    configuration: Configuration
    revision: int
    updated_at: datetime
    updated_by: str
    ramp: str | None = None


class Segment(Record, frozen=True, kw_only=True):
    """A named set of contexts; ``id`` is never given to another one."""

    project: str
    key: str
    id: int
    description: str = ""
    constraints: tuple[model.Constraint, ...] = ()
    targeting_keys: tuple[str, ...] = ()
    created_at: datetime
    updated_at: datetime
    members: model.MemberList | None = None


class MemberBase(Record, frozen=True, kw_only=True):
    """All of a list as it was at one version: which rows that are, and what the version was."""

    list: str
    base: str
    base_version: int
    base_count: int
    base_digest: str


class MemberPart(Record, frozen=True, kw_only=True):
    """The members whose hashes begin with one byte: the hashes, ascending, and the keys that they are of, in the same
    order, a line each and compressed."""

    part: int
    hashes: bytes
    keys: bytes


class MemberDelta(Record, frozen=True, kw_only=True):
    """What made a version of the one before: hashes, ascending, and the keys that were added, as in a part. ``count``
    and ``digest`` are those afterwards."""

    version: int
    count: int
    digest: str
    added: bytes
    removed: bytes
    keys: bytes


class Entry(Record, frozen=True, kw_only=True):
    """What is written into the log of changes; the environment's next revision is added while writing."""

    kind: ChangeKind
    key: str
    action: str
    actor: str
    at: datetime
    reason: str
    before: Any
    after: Any


class LoggedChange(Record, frozen=True, kw_only=True):
    """One entry of the log, as it is read. The documents stay encoded: most readers only pass them on."""

    id: int
    project: str
    environment: str
    epoch: str
    revision: int
    kind: ChangeKind
    key: str
    action: str
    actor: str
    at: datetime
    reason: str
    before: Raw | None
    after: Raw | None


class NodePropagation(Record, frozen=True, kw_only=True):
    """How a change has reached the clients of one node: how many there were, and how many took how long. ``buckets``
    are those of :mod:`fader_server.clients.propagation`."""

    project: str
    environment: str
    epoch: str
    revision: int
    node: str
    clients: int
    applied: int
    refused: int
    buckets: dict[int, int]
    max_ms: float
    recorded_at: datetime


class SdkKey(Record, frozen=True, kw_only=True):
    """What is known of a key: never the secret itself, only enough of it (``prefix``) to recognise it by. A key of kind
    ``server`` reads flags with their rules; one of kind ``client``, which anybody can find in a page or an app, only
    asks what they evaluate to."""

    id: str
    name: str
    project: str
    environment: str
    kind: KeyKind
    prefix: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class AdminToken(Record, frozen=True, kw_only=True):
    """What is known of a token. No ``projects`` or no ``environments`` means all of them."""

    id: str
    name: str
    role: Role
    projects: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class Hook(Record, frozen=True, kw_only=True):
    """What is known of a hook, at which an alert switches a flag off: never the secret itself."""

    id: str
    name: str
    project: str
    environment: str
    flag: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None = None


class Notice(Record, frozen=True, kw_only=True):
    """Something that is to be told to somebody, until it has been.

    Args:
        id: Of this row.
        notice: What, as JSON.
        destination: Whom, by name.
        created_at: When it happened.
        attempts: How often it was tried.
        due_at: When it is to be tried next.
    """

    id: str
    notice: Raw
    destination: str
    created_at: datetime
    attempts: int = 0
    due_at: datetime


class UsageReport(Record, frozen=True, kw_only=True):
    """How often one SDK process has evaluated which flag to which variant, and what became of its dark launches;
    ``id`` makes repeating it harmless."""

    id: str
    project: str
    environment: str
    ended: datetime
    flags: dict[str, dict[str, int]]
    unknown: dict[str, int]
    dark_launches: dict[str, dict[str, int]] = {}


class Usage(Record, frozen=True, kw_only=True):
    """How often a flag was evaluated to a variant in an environment, and when last."""

    environment: str
    variant: str
    count: int
    last_at: datetime


class DarkLaunch(Record, frozen=True, kw_only=True):
    """What became of a flag's dark launches in an environment, as :data:`fader.counters.DarkCount` has it."""

    environment: str
    compared: int = 0
    mismatched: int = 0
    candidate_raised: int = 0
    control_raised: int = 0
    dropped: int = 0
    control_us: int = 0
    candidate_us: int = 0

    @property
    def both_ended_alike(self) -> int:
        """In how many of them both returned, or both raised: their times are comparable."""
        return max(self.compared - self.candidate_raised - self.control_raised, 0)


class Answer(Record, frozen=True, kw_only=True):
    """What was answered to a request, to be answered again. ``body`` is text: JSON, or nothing."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Ramp(Record, frozen=True, kw_only=True):
    """A ramp of a flag in an environment.

    ``hash_key`` is what applications hash users with in the present step: 128 bits, in hexadecimal. ``version`` grows
    with each write.
    """

    id: str
    project: str
    environment: str
    epoch: str
    flag: str
    plan: Plan
    progress: Progress
    is_over: bool
    hash_key: str
    version: int
    created_at: datetime
    created_by: str
    reason: str
    updated_at: datetime


class RampOutcomes(Record, frozen=True, kw_only=True):
    """What applications have recorded for a guard in a step, encoded."""

    ramp: str
    step: int
    guard: str
    outcomes: bytes


class RampLook(Record, frozen=True, kw_only=True):
    """What a guard had counted and found at a moment; ``number`` orders the looks of a guard in a ramp."""

    ramp: str
    guard: str
    number: int
    step: int
    at: datetime
    exposed: int
    failed: int
    others: int
    others_failed: int
    log_e: float
