"""The documents that are made of things: what the log of changes keeps of them, and what SDKs get of them."""

import math
from typing import Any, Final, Protocol

import msgspec

from fader import model
from fader_server.ramps.progress import Status, Verdict, is_learning, slower_than_ms, step_number, step_of
from fader_server.ramps.verdicts import finding
from fader_server.storage.records import Configuration, Definition, FlagKind, Ramp, Segment

_LARGEST_LOG: Final = 300.0
"""Of an e-value: what is more is not a number any more in JSON."""


class FlagDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A flag in one environment with all that can be changed about it, so that one entry of the log explains
    itself: history, undo and what SDKs get are all derived from it, whatever has become of the flag since."""

    key: str
    description: str
    owner: str
    tags: tuple[str, ...]
    kind: FlagKind
    type: model.ValueType
    variants: tuple[model.Variant, ...]
    off_variant: str
    archived: bool
    enabled: bool
    rules: tuple[model.Rule, ...]
    prerequisites: tuple[model.Prerequisite, ...]


class MembersDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Which version of which long list a segment has, and how many keys that version added and removed. What they are
    is not for the log: it would hold a million of them, in every environment."""

    list: str
    version: int
    count: int
    digest: str
    added: int = 0
    removed: int = 0


class SegmentDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A segment with all that can be changed about it."""

    key: str
    id: int
    description: str
    constraints: tuple[model.Constraint, ...]
    targeting_keys: tuple[str, ...]
    members: MembersDocument | None = None


class FoundDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What a guard had found when a ramp moved."""

    guard: str
    verdict: Verdict
    found: str
    e_value: float


class RampDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A ramp, as one of its moves has left it, and what SDKs are to record from then on."""

    id: str
    status: Status
    step: int
    steps: int
    percentage: float
    why: str
    is_approved: bool = False
    found: tuple[FoundDocument, ...] = ()
    guards: tuple[model.Guard, ...] = ()


class Defined(Protocol):
    """What SDKs need of a flag's definition."""

    @property
    def key(self) -> str: ...
    @property
    def type(self) -> model.ValueType: ...
    @property
    def variants(self) -> tuple[model.Variant, ...]: ...
    @property
    def off_variant(self) -> str: ...


class Configured(Protocol):
    """What SDKs need of a flag's configuration."""

    @property
    def enabled(self) -> bool: ...
    @property
    def rules(self) -> tuple[model.Rule, ...]: ...
    @property
    def prerequisites(self) -> tuple[model.Prerequisite, ...]: ...


def flag_document(definition: Definition, configuration: Configuration) -> FlagDocument:
    """What the log keeps of a flag in one environment."""
    return FlagDocument(
        key=definition.key,
        description=definition.description,
        owner=definition.owner,
        tags=definition.tags,
        kind=definition.kind,
        type=definition.type,
        variants=definition.variants,
        off_variant=definition.off_variant,
        archived=definition.archived_at is not None,
        enabled=configuration.enabled,
        rules=configuration.rules,
        prerequisites=configuration.prerequisites,
    )


def segment_document(segment: Segment, *, added: int = 0, removed: int = 0) -> SegmentDocument:
    """What the log keeps of a segment.

    Args:
        segment: As it is.
        added: How many keys have been added to its long list.
        removed: How many have been taken out of it.
    """
    members = segment.members
    return SegmentDocument(
        key=segment.key,
        id=segment.id,
        description=segment.description,
        constraints=segment.constraints,
        targeting_keys=segment.targeting_keys,
        members=None
        if members is None
        else MembersDocument(**msgspec.structs.asdict(members), added=added, removed=removed),
    )


def sdk_flag(defined: Defined, configured: Configured) -> model.Flag:
    """What SDKs get of a flag that is not archived."""
    return model.Flag(
        key=defined.key,
        enabled=configured.enabled,
        type=defined.type,
        variants=defined.variants,
        off_variant=defined.off_variant,
        prerequisites=configured.prerequisites,
        rules=configured.rules,
    )


def sdk_segment(document: SegmentDocument) -> model.Segment:
    """What SDKs get of a segment."""
    members = document.members
    return model.Segment(
        key=document.key,
        id=document.id,
        constraints=document.constraints,
        targeting_keys=document.targeting_keys,
        members=None if members is None else member_list(members),
    )


def member_list(members: MembersDocument) -> model.MemberList:
    """Which list that is."""
    return model.MemberList(list=members.list, version=members.version, count=members.count, digest=members.digest)


def ramp_document(ramp: Ramp) -> RampDocument:
    """What the log keeps of a ramp."""
    return RampDocument(
        id=ramp.id,
        status=ramp.progress.status,
        step=step_number(ramp.plan, ramp.progress) + 1,
        steps=len(ramp.plan.steps),
        percentage=step_of(ramp.plan, ramp.progress).percentage,
        why=ramp.progress.why,
        is_approved=ramp.progress.is_approved,
        found=tuple(
            FoundDocument(
                guard=guard.id,
                verdict=state.verdict,
                found=finding(guard, state, learning=is_learning(guard, ramp.progress)),
                e_value=math.exp(min(state.evidence.log_e, _LARGEST_LOG)),
            )
            for guard in ramp.plan.guards
            if (state := ramp.progress.guards.get(guard.id)) is not None
        ),
        guards=sdk_guards(ramp),
    )


def sdk_guards(ramp: Ramp) -> tuple[model.Guard, ...]:
    """What SDKs are to record for a ramp: nothing any more when it is over."""
    if ramp.is_over:
        return ()
    return tuple(
        model.Guard(
            id=guard_id(ramp, guard.id),
            metric=guard.metric,
            hash_key=ramp.hash_key,
            rule=ramp.plan.rule or "",
            slower_than_ms=slower_than_ms(guard, ramp.progress) if guard.kind == "latency" else None,
            timed=guard.kind == "latency",
        )
        for guard in ramp.plan.guards
    )


def guard_id(ramp: Ramp, guard: str) -> str:
    """What reports call a guard of a ramp in its present step."""
    return f"{ramp.id}.{step_number(ramp.plan, ramp.progress)}.{guard}"


_flag_decoder = msgspec.json.Decoder(FlagDocument)
_segment_decoder = msgspec.json.Decoder(SegmentDocument)
_ramp_decoder = msgspec.json.Decoder(RampDocument)


def decode_flag(document: msgspec.Raw) -> FlagDocument:
    """A flag as the log has kept it."""
    return _flag_decoder.decode(document)


def decode_ramp(document: msgspec.Raw) -> RampDocument:
    """A ramp as the log has kept it."""
    return _ramp_decoder.decode(document)


def decode_segment(document: msgspec.Raw) -> SegmentDocument:
    """A segment as the log has kept it."""
    return _segment_decoder.decode(document)


def encode(document: Any) -> str:
    """The text that the database keeps of a document."""
    return msgspec.json.encode(document).decode()
