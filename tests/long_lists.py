"""Long lists of targeting keys, made for tests: as a server would have them, with few keys."""

from array import array
from collections.abc import Iterable

from fader.members import Members, digest_of, hash_of
from fader.model import MemberList, Segment


def described(keys: Iterable[str], version: int = 1, name: str = "a1") -> MemberList:
    """How a list of these keys is described."""
    hashes = {hash_of(key.encode()) for key in keys}
    return MemberList(list=name, version=version, count=len(hashes), digest=digest_of(hashes))


def members_of(keys: Iterable[str], version: int = 1, name: str = "a1") -> Members:
    """A list of these keys."""
    known = list(keys)
    hashes = {hash_of(key.encode()) for key in known}
    return Members(described(known, version, name), array("Q", sorted(hashes)))


def segment_of(keys: Iterable[str], version: int = 1, name: str = "a1", key: str = "vip") -> Segment:
    """A segment that names such a list."""
    return Segment(key=key, id=1, members=described(keys, version, name))
