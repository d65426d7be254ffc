"""Long lists of targeting keys on disk, each in a file of its own beside the snapshot: written when it has come, and
not again for every change of flags. One that is damaged, or older than the snapshot, costs a download, no more.
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fader.cache_file import CacheError, CacheFile
from fader.config import Timing
from fader.fetching import Holder
from fader.members import Members, MembersError, digest_text, packed, unpacked, wanted_lists
from fader.model import MemberList, Snapshot
from fader.status import Journal

_FORMAT: Final = b"fader-members-1"
_HEADER: Final = re.compile(_FORMAT + rb" ([0-9a-f]{64}) ([0-9a-z]{1,64}) (\d{1,18}) (\d{1,18}) ([0-9a-f]{16})\n")
_LARGEST_HEADER: Final = 256
_IDLE: Final = 60.0
_AFTER_FAILURE: Final = 60.0


class MemberCache:
    """Keeps lists beside one snapshot.

    Args:
        snapshot: The snapshot's file.
    """

    def __init__(self, snapshot: Path) -> None:
        self._snapshot = snapshot

    def load(self, snapshot: Snapshot) -> tuple[dict[str, Members], list[str]]:
        """The lists that a snapshot names, at the versions that are here, by name; and what is wrong with the rest."""
        found: dict[str, Members] = {}
        faults: list[str] = []
        for name in {wanted.list for wanted in wanted_lists(snapshot.segments).values()}:
            try:
                found[name] = self._load(name)
            except FileNotFoundError:
                continue
            except (OSError, CacheError, MembersError) as error:
                faults.append(str(error))
        return found, faults

    def store(self, members: Members) -> None:
        """Keep a list, unless another process has done so.

        Raises:
            CacheError: The disk is full, read-only, or otherwise not willing.
        """
        described, content = members.described, packed(members.hashes)
        checksum = hashlib.sha256(content).hexdigest()
        fields = (checksum, described.list, described.version, described.count, described.digest)
        header = b" ".join((_FORMAT, *(str(field).encode() for field in fields))) + b"\n"
        file = self._file(described.list)
        try:
            with contextlib.suppress(FileNotFoundError, CacheError):
                if file.read(len(header)) == header:
                    return
            file.replace(header, content)
        except OSError as error:
            raise CacheError(str(error)) from error

    def forget_others(self, members: Mapping[str, Members]) -> None:
        """Remove the files of all lists but these."""
        with contextlib.suppress(OSError):
            kept = {self._file(name).path for name in members}
            for path in self._snapshot.parent.glob(f"{self._snapshot.stem}.*.members"):
                if path not in kept:
                    path.unlink(missing_ok=True)

    def _load(self, name: str) -> Members:
        content = self._file(name).read()
        header = _HEADER.match(content[:_LARGEST_HEADER])
        if header is None:
            raise CacheError("it is not a copy of this format")
        body = memoryview(content)[header.end() :]
        if hashlib.sha256(body).hexdigest().encode() != header[1] or header[2].decode() != name:
            raise CacheError("its checksum is wrong")
        described = MemberList(
            list=name, version=int(header[3]), count=int(header[4]), digest=digest_text(int(header[5], 16))
        )
        return Members(described, unpacked(body))

    def _file(self, name: str) -> CacheFile:
        return CacheFile(self._snapshot.with_name(f"{self._snapshot.stem}.{name}.members"))


class MemberCacheWriter:
    """The chore of keeping lists on disk: at once when one has come, and then only now and then, for the way from an
    older version to the present is short.

    Args:
        cache: Where to write.
        holder: What to write.
        timing: How often.
        journal: Whom to tell how it goes.
    """

    def __init__(self, cache: MemberCache, holder: Holder, timing: Timing, journal: Journal) -> None:
        self._cache = cache
        self._holder = holder
        self._pause = timing.members_write
        self._journal = journal
        self._written: dict[str, tuple[Members, float]] = {
            name: (members, float("-inf")) for name, members in holder.members.items()
        }

    def run_if_due(self, now: float) -> float:
        """Write one list that is new, or has changed long enough ago; returns the seconds until the next is due."""
        held = self._holder.members
        if self._written.keys() - held.keys():
            self._written = {name: written for name, written in self._written.items() if name in held}
            self._cache.forget_others(held)
        wait = _IDLE
        for name, members in held.items():
            written, due = self._written.get(name, (None, 0.0))
            if written is members:
                continue
            if now >= due:
                self._write(name, members)
                return 0.0
            wait = min(wait, due - now)
        return wait

    def finish(self, within: float) -> None:
        """Nothing: what is on disk is a beginning that is good enough."""
        del within

    def _write(self, name: str, members: Members) -> None:
        try:
            self._cache.store(members)
        except CacheError as error:
            self._journal.note("members cache", f"a segment's members cannot be kept on disk ({error})")
            self._written[name] = (self._written.get(name, (members, 0.0))[0], time.monotonic() + _AFTER_FAILURE)
        else:
            self._journal.mended("members cache")
            self._written[name] = (members, time.monotonic() + self._pause)
