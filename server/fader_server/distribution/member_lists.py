"""Long lists of targeting keys, as SDKs fetch them: at one version, or what leads there from an earlier one.

A list at a version never changes, so what was built once is kept for those who come next. A list that goes on changing
is built from the one before.
"""

import asyncio
from array import array
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from fader.members import Members, MembersError, combined, packed
from fader.model import MemberList
from fader_server.storage import Store
from fader_server.storage.records import MemberDelta

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of hashes that are kept in memory."""

_SHARE: Final = 2
"""What leads from one version to another is sent as long as it is no more than this part of the list: half of it."""


class Since(Struct, frozen=True):
    """The version that somebody has."""

    version: int
    digest: str


class MemberLists:
    """What is fetched, from memory where it is there.

    Args:
        store: Where it is read.
        most_bytes: How much is kept.
    """

    def __init__(self, store: Store, most_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._kept: OrderedDict[MemberList, tuple[Members, bytes]] = OrderedDict()
        self._ways: OrderedDict[tuple[MemberList, Since], bytes] = OrderedDict()
        self._building = asyncio.Lock()

    async def whole(self, wanted: MemberList) -> bytes | None:
        """All hashes of a list, packed; ``None`` if there is none like it.

        Raises:
            Unavailable: if the database cannot say at the moment.
        """
        kept = await self._get(wanted)
        return None if kept is None else kept[1]

    async def members(self, wanted: MemberList) -> Members | None:
        """The same, for who looks keys up."""
        kept = await self._get(wanted)
        return None if kept is None else kept[0]

    async def _get(self, wanted: MemberList) -> tuple[Members, bytes] | None:
        kept = self._kept.get(wanted)
        if kept is None:
            # One after the other: whoever comes second most likely wants the same.
            async with self._building:
                kept = self._kept.get(wanted)
                if kept is None:
                    members = await self._built(wanted)
                    if members is None:
                        return None
                    kept = self._kept[wanted] = members, packed(members.hashes)
                    self._forget()
        self._kept.move_to_end(wanted)
        return kept

    async def described(self, name: str, version: int, digest: str) -> MemberList | None:
        """A list at another version than the present one, if it is known."""
        for kept in self._kept:
            if (kept.list, kept.version, kept.digest) == (name, version, digest):
                return kept
        return await self._store.member_list(name, version, digest)

    async def way(self, wanted: MemberList, since: Since) -> bytes | None:
        """What leads to a list from an earlier version: the number of hashes added, these, and those removed; ``None``
        if it is not known, or hardly less than the list itself.

        Raises:
            Unavailable: if the database cannot say at the moment.
        """
        known = self._ways.get((wanted, since))
        if known is None:
            deltas = await self._deltas(wanted, since)
            if deltas is None:
                return None
            added, removed = combined(deltas)
            if len(added) + len(removed) > wanted.count // _SHARE:
                return None
            hashes = (array("Q", [len(added)]), array("Q", sorted(added)), array("Q", sorted(removed)))
            known = self._ways[wanted, since] = b"".join(map(packed, hashes))
            self._forget()
        return known

    async def _built(self, wanted: MemberList) -> Members | None:
        earlier = [kept for kept in self._kept if kept.list == wanted.list and kept.version < wanted.version]
        if earlier:
            nearest = max(earlier, key=lambda kept: kept.version)
            deltas = await self._deltas(wanted, Since(nearest.version, nearest.digest))
            if deltas is not None:
                try:
                    return await asyncio.to_thread(self._kept[nearest][0].changed, wanted, *combined(deltas))
                except MembersError:
                    pass  # the database was restored meanwhile, and has another list of this name
        members = await self._store.members_at(wanted)
        return members if members is not None and members.described == wanted else None

    async def _deltas(self, wanted: MemberList, since: Since) -> list[MemberDelta] | None:
        """What was changed in between, if that is known without a gap."""
        if since.version >= wanted.version:
            return None
        # With the one that made the earlier version, which says whether it is the same one.
        deltas = await self._store.member_deltas(wanted.list, since.version - 1, wanted.version)
        if [delta.version for delta in deltas] == [*range(since.version + 1, wanted.version + 1)]:
            return deltas  # it came as a whole, and is known by its number alone
        if [delta.version for delta in deltas] != [*range(since.version, wanted.version + 1)]:
            return None
        return deltas[1:] if deltas[0].digest == since.digest else None

    def _forget(self) -> None:
        # Never the newest: it is about to be sent.
        while len(self._kept) > 1 and sum(len(content) for _, content in self._kept.values()) > self._most_bytes:
            self._kept.popitem(last=False)
        while len(self._ways) > 1 and sum(len(content) for content in self._ways.values()) > self._most_bytes // 4:
            self._ways.popitem(last=False)
