"""Long lists of targeting keys as sorted 64-bit hashes: 8 bytes for each key, and looked up in half a microsecond.

A key's hash is the first half of MurmurHash3 (x64, 128 bits, by Austin Appleby, seed 0) of its UTF-8. Two keys with one
hash are one member: of n members' hashes a stranger's is one with a probability of n / 2⁶⁴, which for a million is
5 · 10⁻¹⁴. Nothing here changes once it is made; what is different is built beside it, so that readers need no lock.
"""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from operator import lt
from typing import Final, Protocol, TypeAlias

# Of bytes, for the same reason as in `fader.bucketing`.
from mmh3 import mmh3_x64_128_utupledigest

from fader.model import MemberList, MembersDelta, Segment

Hashes: TypeAlias = "array[int]"
"""Unsigned 64-bit integers, ascending."""

SIZE: Final = 8
"""Bytes of a hash, on the wire and on disk: the lowest first."""

_WHOLE: Final = 1 << 64
_MOST_PLACES: Final = 16
"""Bits of a hash by which a look-up begins: 65,536 places take a quarter of a megabyte."""
_AT_ONCE: Final = 8_192
"""Hashes looked at in one step of the interpreter, so that application threads get their turn within a millisecond."""


class MembersError(ValueError):
    """These bytes are not the list that they should be. The text says why, for the log."""


def hash_of(key: bytes) -> int:
    """The hash of a targeting key, given in UTF-8.

    >>> hash_of(b"user-123456")
    10033193394069294599
    """
    return mmh3_x64_128_utupledigest(key, 0)[0]


class Members:
    """A list at one version.

    Args:
        described: Which one it is; that it is as described is the caller's word.
        hashes: Of its keys.
    """

    def __init__(self, described: MemberList, hashes: Hashes) -> None:
        self.described = described
        self.hashes = hashes

    def __len__(self) -> int:
        return len(self.hashes)

    @cached_property
    def contains(self) -> Callable[[str], bool]:
        """Whether a targeting key is listed, as a function. Making it takes 40 milliseconds for a million, once."""
        hashes, shift, places = self.hashes, *_places(self.hashes)

        def contains(
            key: str,
            # As arguments they are local, which is felt at half a microsecond.
            hashes: Hashes = hashes,
            shift: int = shift,
            places: "array[int]" = places,
            digest: Callable[..., tuple[int, int]] = mmh3_x64_128_utupledigest,
            find: Callable[..., int] = bisect_left,
        ) -> bool:
            try:
                hashed = digest(key.encode(), 0)[0]
            except UnicodeEncodeError:
                return False  # no key that could be listed
            place = hashed >> shift
            end = places[place + 1]
            found = find(hashes, hashed, places[place], end)
            return found < end and hashes[found] == hashed and key != ""

        return contains

    def changed(self, described: MemberList, added: Iterable[int], removed: Iterable[int]) -> "Members":
        """The list after a change. This one stays as it is.

        Args:
            described: What it becomes.
            added: Hashes to add; what is there already stays.
            removed: Hashes to take away; what is not there stays away.

        Raises:
            MembersError: it has not become that.
        """
        edits = sorted([*((hashed, True) for hashed in added), *((hashed, False) for hashed in removed)])
        held, made, reached, digest = self.hashes, array("Q"), 0, int(self.described.digest, 16)
        with memoryview(held).cast("B") as view:
            for hashed, is_added in edits:
                place = bisect_left(held, hashed, reached)
                made.frombytes(view[reached * SIZE : place * SIZE])
                is_there = place < len(held) and held[place] == hashed
                if is_added:
                    made.append(hashed)
                digest += hashed * (is_added - is_there)
                reached = place + is_there
            made.frombytes(view[reached * SIZE :])
        if len(made) != described.count or format(digest % _WHOLE, "016x") != described.digest:
            raise MembersError(f"version {described.version} does not follow from version {self.described.version}")
        return Members(described, made)


class Reader:
    """Reads a list from its bytes, as they come.

    Args:
        described: Which list it must turn out to be.
    """

    def __init__(self, described: MemberList) -> None:
        self._described = described
        self._hashes: Hashes = array("Q")
        self._digest = 0

    def feed(self, part: bytes) -> None:
        """Take in the next bytes: whole hashes.

        Raises:
            MembersError: what has come cannot be a part of a list.
        """
        hashes = unpacked(part)
        before = self._hashes[-1:]
        for start in range(0, len(hashes), _AT_ONCE):
            some = before + hashes[start : start + _AT_ONCE]
            if not all(map(lt, some, some[1:])):
                raise MembersError("its hashes are not in order")
            self._digest += sum(some) - sum(before)
            before = some[-1:]
        self._hashes += hashes

    def finish(self) -> Members:
        """The list.

        Raises:
            MembersError: it is another one.
        """
        if len(self._hashes) != self._described.count or digest_text(self._digest) != self._described.digest:
            raise MembersError("it is not the list that was asked for")
        return Members(self._described, self._hashes)


def packed(hashes: Hashes) -> bytes:
    """Hashes as they are kept and sent."""
    if sys.byteorder == "big":
        hashes = hashes[:]
        hashes.byteswap()
    return hashes.tobytes()


def unpacked(data: bytes | memoryview) -> Hashes:
    """Hashes as they were kept or sent.

    Raises:
        MembersError: there is a part of one at the end.
    """
    if len(data) % SIZE:
        raise MembersError("a hash is cut short")
    hashes = array("Q", bytes(data) if isinstance(data, memoryview) else data)
    if sys.byteorder == "big":
        hashes.byteswap()
    return hashes


def digest_text(total: int) -> str:
    """A sum of hashes as ``MemberList.digest`` has it."""
    return format(total % _WHOLE, "016x")


def digest_of(hashes: Iterable[int]) -> str:
    """The digest of a list of these hashes."""
    return digest_text(sum(hashes))


class Delta(Protocol):
    """What has become different by one change, as packed hashes."""

    @property
    def added(self) -> bytes: ...
    @property
    def removed(self) -> bytes: ...


def combined(deltas: Iterable[Delta]) -> tuple[set[int], set[int]]:
    """Several changes of a list, each following on the one before, as one: what is added and what is removed.

    Raises:
        MembersError: one of them cannot be read.
    """
    added: set[int] = set()
    removed: set[int] = set()
    for delta in deltas:
        more, less = set(unpacked(delta.added)), set(unpacked(delta.removed))
        added, removed = (added - less) | (more - removed), (removed - more) | (less - added)
    return added, removed


def followed(
    held: Mapping[str, Members], segments: Mapping[str, Segment], news: Mapping[str, tuple[MembersDelta, ...]]
) -> dict[str, Members]:
    """The lists that are held after a change of segments: brought to what is wanted where small changes lead there,
    else as they were; without those that nobody asks for any longer.

    Args:
        held: Lists by name.
        segments: All of them, after the change.
        news: Changes of lists, by name.
    """
    kept: dict[str, Members] = {}
    for wanted in wanted_lists(segments).values():
        members = held.get(wanted.list)
        if members is None:
            continue
        kept[wanted.list] = members
        way = [delta for delta in news.get(wanted.list, ()) if delta.version > members.described.version]
        if members.described != wanted and _joins(way, members.described.version, wanted.version):
            try:
                kept[wanted.list] = members.changed(wanted, *combined(way))
            except MembersError:
                continue  # of another epoch, perhaps; it will be fetched
    return kept


def _joins(way: list[MembersDelta], version: int, wanted: int) -> bool:
    """Whether changes lead from a version to the one that is wanted, without a gap."""
    reached = [version, *(delta.version for delta in way)]
    return [delta.since for delta in way] == reached[:-1] and reached[-1] == wanted


def wanted_lists(segments: Mapping[str, Segment]) -> dict[str, MemberList]:
    """The lists that segments name, by the segments' keys."""
    return {key: segment.members for key, segment in segments.items() if segment.members is not None}


def missing_lists(segments: Mapping[str, Segment], held: Mapping[str, Members]) -> dict[str, MemberList]:
    """The lists that segments name and that are not held, or not at that version, by the segments' keys."""
    return {
        key: wanted
        for key, wanted in wanted_lists(segments).items()
        if wanted.list not in held or held[wanted.list].described != wanted
    }


def _places(hashes: Hashes) -> tuple[int, "array[int]"]:
    """How far to shift a hash to get its place, and where each place begins, with the end of the last: about sixteen
    hashes are at one place."""
    bits = min(max(len(hashes).bit_length() - 4, 0), _MOST_PLACES)
    shift = 64 - bits
    begins = array("I", [0])
    reached = 0
    for place in range(1, 1 << bits):
        reached = bisect_left(hashes, place << shift, reached)
        begins.append(reached)
    begins.append(len(hashes))
    return shift, begins
