"""The targeting keys of a segment, to be read: in the order of their hashes, which is the order in which long lists are
kept, so that a part of one is found without the rest."""

from array import array
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from fader.members import Members, hash_of, unpacked, wanted_lists
from fader.model import Snapshot
from fader_server.flags.key_lists import changed_parts, compressed, decompressed
from fader_server.storage import members
from fader_server.storage.records import MemberBase, Segment

_PARTS_AT_ONCE = 8


async def some(connection: AsyncConnection, segment: Segment, *, after: int, limit: int) -> list[str]:
    """Some keys.

    Args:
        connection: Where to read.
        segment: Whose.
        after: The hash of the last one before them; -1 to begin.
        limit: At most so many.
    """
    own = {hash_of(key.encode()): key for key in segment.targeting_keys}
    found = {hashed: key for hashed, key in own.items() if hashed > after}
    if segment.members is not None and (begins := await members.base(connection, segment.members.list)) is not None:
        changes = await _changes(connection, begins)
        first = max(after, 0) >> 56
        listed: dict[int, str] = {}
        while first < 256 and len(listed) < limit:
            last = min(first + _PARTS_AT_ONCE, 256) - 1
            parts = await members.parts(connection, begins, first=first, last=last)
            async for hashes, keys in changed_parts(parts, _between(changes, first, last)):
                listed |= {hashed: key.decode() for hashed, key in zip(hashes, keys, strict=True) if hashed > after}
            first = last + 1
        found |= listed
    return [found[hashed] for hashed in sorted(found)[:limit]]


async def everything(connection: AsyncConnection, segment: Segment) -> list[bytes]:
    """All keys, in portions of lines, compressed."""
    portions = [compressed(key.encode() for key in segment.targeting_keys)] if segment.targeting_keys else []
    if segment.members is not None and (begins := await members.base(connection, segment.members.list)) is not None:
        changes = await _changes(connection, begins)
        parts = await members.parts(connection, begins)
        if not changes:
            return [*portions, *(part.keys for part in parts)]
        async for _, keys in changed_parts(parts, changes):
            if keys:
                portions.append(compressed(keys))
    return portions


async def lists_for_one(connection: AsyncConnection, snapshot: Snapshot, key: str) -> dict[str, Members]:
    """The long lists that a snapshot's segments name, cut down to one targeting key, by name: to evaluate for that one,
    nobody else's hash is needed."""
    found: dict[str, Members] = {}
    hashed = hash_of(key.encode())
    for wanted in wanted_lists(snapshot.segments).values():
        begins = await members.base(connection, wanted.list)
        if begins is not None and wanted.list not in found:
            present = await members.present(connection, begins, [hashed])
            found[wanted.list] = Members(wanted, array("Q", present))
    return found


async def _changes(connection: AsyncConnection, begins: MemberBase) -> list[tuple[dict[int, bytes], list[int]]]:
    return [
        (dict(zip(unpacked(delta.added), decompressed(delta.keys), strict=True)), list(unpacked(delta.removed)))
        for delta in await members.deltas(connection, begins.list, begins.base_version)
    ]


def _between(
    changes: Iterable[tuple[dict[int, bytes], list[int]]], first: int, last: int
) -> list[tuple[dict[int, bytes], list[int]]]:
    """The changes that belong to some parts."""
    return [
        (
            {hashed: key for hashed, key in added.items() if first <= hashed >> 56 <= last},
            [hashed for hashed in removed if first <= hashed >> 56 <= last],
        )
        for added, removed in changes
    ]
