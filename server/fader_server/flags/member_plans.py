"""How a segment's list becomes another one: decided from values that were read, and then written in one transaction.

A short list is kept with its segment. A long one is a base, in parts, and small changes beside it; when these have
become many, or large, they become part of a new base. Deciding may take a second; nothing is locked meanwhile.
"""

import secrets
from array import array
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from fader.members import Members, digest_text, hash_of, packed, unpacked
from fader.model import MemberList
from fader_server.flags.key_lists import (
    KeyList,
    changed_parts,
    compressed,
    decompressed,
    differences,
    keys_of,
    parts_of,
    refuse_too_many,
)
from fader_server.flags.limits import Limits
from fader_server.storage import members, segments
from fader_server.storage.records import MemberBase, MemberDelta, MemberPart, Segment

_MOST_CHANGES: Final = 200
"""Small changes after which a base is written anew: whoever reads the list reads all of them, too."""
_FREE_HASHES: Final = 1_000
_SHARE: Final = 8
"""Small changes may be as many as this part of a list: one in eight."""


class Plan(Struct, frozen=True, kw_only=True):
    """What to write so that a segment lists other keys.

    Args:
        short: All keys, where they are few.
        described: The list, where they are many.
        delta: What it has become different by, where that is little.
        base: Where it begins from now on, with its parts, if not where it did.
        added: How many keys are new.
        removed: How many are gone.
    """

    short: tuple[str, ...] = ()
    described: MemberList | None = None
    delta: MemberDelta | None = None
    base: MemberBase | None = None
    parts: tuple[MemberPart, ...] = ()
    added: int = 0
    removed: int = 0

    def apply(self, segment: Segment) -> Segment:
        """The segment with these keys."""
        return replace(segment, targeting_keys=self.short, members=self.described)


def is_long(segment: Segment) -> bool:
    """Whether a segment's keys are kept for themselves."""
    return segment.members is not None


def count_of(segment: Segment) -> int:
    """How many keys a segment lists."""
    return len(segment.targeting_keys) + (segment.members.count if segment.members is not None else 0)


def tag_of(segment: Segment) -> str:
    """What tells the keys of a segment from others, for ``ETag`` and ``If-Match``."""
    if segment.members is not None and not segment.targeting_keys:
        return f"{segment.members.count}-{segment.members.digest}"
    own = sum(hash_of(key.encode()) for key in segment.targeting_keys)
    listed = 0 if segment.members is None else int(segment.members.digest, 16)
    return f"{count_of(segment)}-{digest_text(own + listed)}"


async def present_list(connection: AsyncConnection, described: MemberList) -> tuple[MemberBase, Members]:
    """All hashes of a list as it is now."""
    begins = await members.base(connection, described.list)
    assert begins is not None  # noqa: S101 (it is written together with what names it)
    held = await members.at(connection, described)
    assert held is not None  # noqa: S101 (the same)
    return begins, held


async def replaced(
    connection: AsyncConnection, segment: Segment, keys: KeyList, short: tuple[str, ...], limits: Limits
) -> Plan:
    """How a segment comes to list exactly these keys. A list that is much like the one before becomes a small change.

    Args:
        connection: Where to read.
        segment: As it is.
        keys: What it is to list.
        short: The same in order, if they are few.
        limits: How many are few.
    """
    before = count_of(segment)
    if len(keys) <= limits.targeting_keys_inline:
        return Plan(short=short, added=len(keys), removed=before)
    if segment.members is None or segment.targeting_keys:
        return await _begun(segment, keys, before)
    begins, held = await present_list(connection, segment.members)
    added, removed = await differences(held.hashes, keys)
    if not added and not removed:
        return Plan(described=segment.members)
    described = _next(segment.members, added, removed)
    changes, hashes = await members.size_since(connection, begins)
    if _fits(changes + 1, hashes + len(added) + len(removed), described.count):
        return _small(described, added, removed)
    base = _base(described)
    parts = tuple(await parts_of(keys))
    # Its own small change is kept, if it is one, for those who hold the version before.
    delta = _small(described, added, removed).delta if _fits(1, len(added) + len(removed), described.count) else None
    return Plan(described=described, delta=delta, base=base, parts=parts, added=len(added), removed=len(removed))


async def edited(
    connection: AsyncConnection, segment: Segment, add: Iterable[str], remove: Iterable[str], limits: Limits
) -> Plan:
    """How a segment comes to list some keys more, and some less.

    Args:
        connection: Where to read.
        segment: As it is.
        add: Keys that it is to list; some may be there.
        remove: Keys that it is not to list; some may not be there.
        limits: How many it may list.
    """
    gone = set(remove)
    if segment.members is None:
        kept = dict.fromkeys([*(key for key in segment.targeting_keys if key not in gone), *add])
        refuse_too_many(len(kept), limits)
        before = set(segment.targeting_keys)
        added, removed = len(kept.keys() - before), len(before - kept.keys())
        if len(kept) <= limits.targeting_keys_inline:
            return Plan(short=tuple(kept), added=added, removed=removed)
        plan = await _begun(segment, await keys_of(kept), 0)
        return replace(plan, added=added, removed=removed)
    begins = await members.base(connection, segment.members.list)
    assert begins is not None  # noqa: S101 (it is written together with what names it)
    wanted = {hash_of(key): key for key in (key.encode() for key in add)}
    unwanted = {hash_of(key.encode()) for key in remove}
    present = await members.present(connection, begins, wanted.keys() | unwanted)
    more = {hashed: key for hashed, key in wanted.items() if hashed not in present}
    less = sorted(unwanted & present)
    short = tuple(key for key in segment.targeting_keys if key not in gone)
    if not more and not less:
        return Plan(short=short, described=segment.members)
    described = _next(segment.members, more, less)
    refuse_too_many(described.count, limits)
    small = replace(_small(described, more, less), short=short)
    changes, hashes = await members.size_since(connection, begins)
    if _fits(changes + 1, hashes + len(more) + len(less), described.count):
        return small
    earlier = [
        (dict(zip(unpacked(delta.added), decompressed(delta.keys), strict=True)), unpacked(delta.removed))
        for delta in await members.deltas(connection, begins.list, begins.base_version)
    ]
    content = changed_parts(await members.parts(connection, begins), [*earlier, (more, array("Q", less))])
    parts = await parts_of([part async for part in content])
    return replace(small, base=_base(described), parts=tuple(parts))


async def put_aside(connection: AsyncConnection, segment: Segment, plan: Plan) -> None:
    """Write what is large, which nobody reads before ``carry_out`` has been done, too."""
    if plan.base is not None:
        await members.put_base(connection, segment.id, plan.base, plan.parts)


async def carry_out(connection: AsyncConnection, after: Segment, plan: Plan) -> None:
    """Write the rest of a plan, and the segment.

    Args:
        connection: A transaction in which nobody else can change the segment.
        after: The segment as it is to be.
        plan: How its keys come to be these; ``put_aside`` has been done.
    """
    await segments.update(connection, after)
    await members.delete_others(connection, after)
    if plan.base is not None:
        await members.use_base(connection, plan.base)
    if plan.delta is not None and plan.described is not None:
        await members.append(connection, plan.described.list, plan.delta)


async def _begun(segment: Segment, keys: KeyList, before: int) -> Plan:
    """A list for a segment that has none, or that an earlier release has given keys of its own beside it."""
    held = segment.members
    described = MemberList(
        list=secrets.token_hex(8) if held is None else held.list,
        version=1 if held is None else held.version + 1,
        count=len(keys),
        digest=keys.digest,
    )
    parts = tuple(await parts_of(keys))
    return Plan(described=described, base=_base(described), parts=parts, added=len(keys), removed=before)


def _next(before: MemberList, added: Iterable[int], removed: Iterable[int]) -> MemberList:
    more, less = list(added), list(removed)
    digest = int(before.digest, 16) + sum(more) - sum(less)
    return MemberList(
        list=before.list,
        version=before.version + 1,
        count=before.count + len(more) - len(less),
        digest=digest_text(digest),
    )


def _small(described: MemberList, added: dict[int, bytes], removed: Iterable[int]) -> Plan:
    more, less = array("Q", sorted(added)), array("Q", removed)
    delta = MemberDelta(
        version=described.version,
        count=described.count,
        digest=described.digest,
        added=packed(more),
        removed=packed(less),
        keys=compressed(added[hashed] for hashed in more),
    )
    return Plan(described=described, delta=delta, added=len(more), removed=len(less))


def _base(described: MemberList) -> MemberBase:
    return MemberBase(
        list=described.list,
        base=secrets.token_hex(8),
        base_version=described.version,
        base_count=described.count,
        base_digest=described.digest,
    )


def _fits(changes: int, hashes: int, count: int) -> bool:
    return changes <= _MOST_CHANGES and hashes <= max(_FREE_HASHES, count // _SHARE)
