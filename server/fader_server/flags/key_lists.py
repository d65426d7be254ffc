"""Targeting keys by the million: read from a file, arranged by their hashes, compared with those that there are.

All of it is done on the event loop, a millisecond's worth at a time, so that everything else a server does gets its
turns in between. (In a thread of its own it would hold the interpreter for five milliseconds at a time.)
"""

import re
import zlib
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

from fader.members import Hashes, digest_text, hash_of, packed, unpacked
from fader_server.errors import Invalid
from fader_server.flags.findings import Findings
from fader_server.flags.limits import Limits
from fader_server.flags.turns import Turns
from fader_server.storage.records import MemberPart

PARTS: Final = 256
"""One for each topmost byte of a hash."""

_BLOCK: Final = 8 * 1024
"""Bytes of a file that are read in one go: half a millisecond's worth."""
_SOME: Final = 500
"""Keys, for the same."""
_LEVEL: Final = 1
"""Of compression: the fastest gives nearly all of the gain."""
_MARK: Final = b"\xef\xbb\xbf"
"""What some editors begin a file with."""
_SUSPECT: Final = re.compile(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
"""Control characters in UTF-8; a tab at the end of a line would do no harm, but has to be looked at."""


class KeyList:
    """Keys, each once, arranged by their hashes."""

    def __init__(self) -> None:
        self._parts: list[tuple[Hashes, list[bytes]]] = [(array("Q"), []) for _ in range(PARTS)]
        self.given = 0
        """How many were added, also those that were there."""
        self.digest = digest_text(0)
        """Of all of them, as ``MemberList.digest`` has it."""

    def __len__(self) -> int:
        return sum(len(hashes) for hashes, _ in self._parts)

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys, in UTF-8. ``arrange`` must follow."""
        parts = self._parts
        for key in keys:
            hashed = hash_of(key)
            hashes, held = parts[hashed >> 56]
            hashes.append(hashed)
            held.append(key)
            self.given += 1

    async def arrange(self) -> None:
        """Bring what was added into order, and leave out what is there twice."""
        total, turns = 0, Turns()
        for number, (hashes, keys) in enumerate(self._parts):
            ordered = dict(zip(hashes, keys, strict=True))
            arranged = array("Q", sorted(ordered))
            self._parts[number] = arranged, [ordered[hashed] for hashed in arranged]
            total += sum(arranged)
            await turns.give_way()
        self.digest = digest_text(total)

    def part(self, number: int) -> tuple[Hashes, list[bytes]]:
        """The hashes that begin with a byte, and the keys that they are of."""
        return self._parts[number]

    def __iter__(self) -> Iterator[tuple[Hashes, list[bytes]]]:
        return iter(self._parts)


async def keys_of_file(content: bytes, limits: Limits) -> tuple[KeyList, tuple[str, ...]]:
    """The keys of a file, which has one in each line; white space around them and empty lines do not count.

    Args:
        content: The file, in UTF-8.
        limits: How many keys, and how long.

    Returns:
        The keys, and where they are few enough to be kept with their segment, also in the order of the file.

    Raises:
        Invalid: naming the lines at fault.
    """
    found, findings, first = KeyList(), Findings(), dict[bytes, None]()
    line, turns = 1, Turns()
    for block in _blocks(content.removeprefix(_MARK)):
        keys = [key for one in block.split(b"\n") if (key := one.strip())]
        if not _are_plain(block, keys, limits):
            keys = _checked(block, line, limits, findings)
        line += block.count(b"\n") + 1
        found.add(keys)
        if len(first) <= limits.targeting_keys_inline:
            first |= dict.fromkeys(keys)
        if found.given > 2 * limits.targeting_keys:
            break  # no list of ours is written twice in a file
        await turns.give_way()
    findings.raise_if_any()
    await found.arrange()
    refuse_too_many(len(found), limits)
    return found, tuple(key.decode() for key in first)


async def keys_of(keys: Iterable[str]) -> KeyList:
    """The same for keys that have been looked at already."""
    found, encoded, turns = KeyList(), [key.encode() for key in keys], Turns()
    for start in range(0, len(encoded), _SOME):
        found.add(encoded[start : start + _SOME])
        await turns.give_way()
    await found.arrange()
    return found


def refuse_too_many(count: int, limits: Limits) -> None:
    """Make sure that a list does not become too long.

    Raises:
        Invalid: if it does.
    """
    if count > limits.targeting_keys:
        findings = Findings()
        findings.add("targeting_keys", f"has {count} entries, and {limits.targeting_keys} is the most")
        raise Invalid.of(findings.errors)


async def differences(held: Hashes, wanted: KeyList) -> tuple[dict[int, bytes], list[int]]:
    """What has to be added to a list, with the keys, and what has to be taken out, to make it another one.

    Args:
        held: All hashes of the list.
        wanted: What it is to be.
    """
    added: dict[int, bytes] = {}
    removed: list[int] = []
    begin, turns = 0, Turns()
    for number, (hashes, keys) in enumerate(wanted):
        end = bisect_left(held, (number + 1) << 56, begin) if number + 1 < PARTS else len(held)
        before = set(held[begin:end])
        if len(hashes) != len(before) or not before.issuperset(hashes):
            added |= {hashed: key for hashed, key in zip(hashes, keys, strict=True) if hashed not in before}
            removed += sorted(before.difference(hashes))
        begin = end
        await turns.give_way()
    return added, removed


def compressed(keys: Iterable[bytes]) -> bytes:
    """Keys as they are kept, a line each."""
    return zlib.compress(b"\n".join(keys), _LEVEL)


def decompressed(kept: bytes) -> list[bytes]:
    """Keys as they were kept."""
    content = zlib.decompress(kept)
    return content.split(b"\n") if content else []


async def parts_of(keys: Iterable[tuple[Hashes, list[bytes]]]) -> list[MemberPart]:
    """Keys as the parts of a base."""
    parts: list[MemberPart] = []
    turns = Turns()
    for number, (hashes, held) in enumerate(keys):
        if hashes:
            parts.append(MemberPart(part=number, hashes=packed(hashes), keys=compressed(held)))
        await turns.give_way()
    return parts


async def changed_parts(
    parts: Iterable[MemberPart], changes: Iterable[tuple[dict[int, bytes], Iterable[int]]]
) -> AsyncIterator[tuple[Hashes, list[bytes]]]:
    """All keys of a list, by parts, after changes.

    Args:
        parts: What it was, in order.
        changes: Of each what it has added, with the keys, and what it has taken out; one after the other.
    """
    edits: list[dict[int, bytes | None]] = [{} for _ in range(PARTS)]
    for added, removed in changes:
        for hashed in removed:
            edits[hashed >> 56][hashed] = None
        for hashed, key in added.items():
            edits[hashed >> 56][hashed] = key
    held, turns = {part.part: part for part in parts}, Turns()
    for number in range(PARTS):
        part = held.get(number)
        hashes, keys = (unpacked(part.hashes), decompressed(part.keys)) if part else (array("Q"), [])
        if edits[number]:
            ordered: dict[int, bytes | None] = {**dict(zip(hashes, keys, strict=True)), **edits[number]}
            kept = {hashed: key for hashed, key in ordered.items() if key is not None}
            hashes = array("Q", sorted(kept))
            keys = [kept[hashed] for hashed in hashes]
        yield hashes, keys
        await turns.give_way()


def _blocks(content: bytes) -> Iterator[bytes]:
    begin = 0
    while begin < len(content):
        end = content.find(b"\n", begin + _BLOCK)
        end = len(content) if end < 0 else end
        yield content[begin:end]
        begin = end + 1


def _are_plain(block: bytes, keys: list[bytes], limits: Limits) -> bool:
    """Whether nothing in a block needs a closer look."""
    if _SUSPECT.search(block) is not None or max(map(len, keys), default=0) > limits.text:
        return False
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked(block: bytes, number: int, limits: Limits, findings: Findings) -> list[bytes]:
    """The keys of a block, looked at one by one."""
    fit: list[bytes] = []
    for line, one in enumerate(block.split(b"\n"), start=number):
        key = one.strip()
        if not key:
            continue
        try:
            text = key.decode()
        except UnicodeDecodeError:
            findings.add(f"line {line}", "is not UTF-8", "Ids go a line each, in UTF-8.")
            continue
        if findings.check_text(f"line {line}", text, limits.text):
            fit.append(key)
    return fit
