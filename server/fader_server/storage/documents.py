"""The two documents that are made of a flag: what the log of changes keeps of it, and what SDKs get of it."""

from typing import Any, Protocol

import msgspec

from fader import model
from fader_server.storage.records import Configuration, Definition, FlagKind, Segment


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


_flag_decoder = msgspec.json.Decoder(FlagDocument)
_segment_decoder = msgspec.json.Decoder(SegmentDocument)


def decode_flag(document: msgspec.Raw) -> FlagDocument:
    """A flag as the log has kept it."""
    return _flag_decoder.decode(document)


def decode_segment(document: msgspec.Raw) -> SegmentDocument:
    """A segment as the log has kept it."""
    return _segment_decoder.decode(document)


def encode(document: Any) -> str:
    """The text that the database keeps of a document."""
    return msgspec.json.encode(document).decode()
