"""The last good snapshot on disk, from which a process answers that starts while the server is away.

One file per server and key. It is replaced whole, by a rename, so that readers and other processes of the same app
see either the old copy or the new one; a checksum tells a damaged copy from a good one. It never expires: flags of
last week are nearer to what was decided than the defaults in the code.
"""

import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fader.cache_file import CacheError, CacheFile
from fader.model import Snapshot
from fader.payloads import PayloadError, read_snapshot

__all__ = ["CacheError", "DiskCache"]

_FORMAT: Final = b"fader-cache-1"
_HEADER: Final = re.compile(_FORMAT + rb" ([0-9a-f]{64}) ([0-9a-z]*) (\d{1,18})\n")
_LARGEST_HEADER: Final = 256


class _Header(NamedTuple):
    checksum: bytes
    epoch: str
    revision: int
    length: int


class DiskCache:
    """Keeps one snapshot in one file.

    Args:
        directory: Where to keep it; made, for the owner alone, if it is missing.
        url: The server that the snapshot comes from.
        sdk_key: The key that it was fetched with. Only a hash of both becomes the file's name.
    """

    def __init__(self, directory: Path, url: str, sdk_key: str) -> None:
        digest = hashlib.sha256(f"{url}\n{sdk_key}".encode()).hexdigest()
        self.path = directory / f"{digest[:32]}.snapshot"
        self._file = CacheFile(self.path)

    def load(self) -> Snapshot | None:
        """The copy, or ``None`` if there is none.

        Raises:
            CacheError: There is one, but it cannot be used.
        """
        try:
            content = self._file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CacheError(str(error)) from error
        header = _read_header(content)
        if header is None:
            raise CacheError("it is not a copy of this format")
        body = memoryview(content)[header.length :]
        if hashlib.sha256(body).hexdigest().encode() != header.checksum:
            raise CacheError("its checksum is wrong")
        try:
            return read_snapshot(body)
        except PayloadError as error:
            raise CacheError(str(error)) from error

    def store(self, snapshot: Snapshot) -> None:
        """Replace the copy, unless another process has already stored a later revision.

        Raises:
            CacheError: The disk is full, read-only, or otherwise not willing.
        """
        body = msgspec.json.encode(snapshot)
        checksum = hashlib.sha256(body).hexdigest().encode()
        header = b"%s %s %s %d\n" % (_FORMAT, checksum, snapshot.epoch.encode(), snapshot.revision)
        if _HEADER.fullmatch(header) is None:
            raise CacheError("this snapshot's version cannot be written down")
        try:
            if self._has_later(snapshot):
                return
            self._file.replace(header, body)
        except OSError as error:
            raise CacheError(str(error)) from error

    def _has_later(self, snapshot: Snapshot) -> bool:
        """Whether the file holds a later revision of the same epoch, and holds it in good order."""
        try:
            header = _read_header(self._file.read(_LARGEST_HEADER))
        except (FileNotFoundError, CacheError):
            return False
        if header is None or header.epoch != snapshot.epoch or header.revision <= snapshot.revision:
            return False
        try:
            return self.load() is not None
        except CacheError:
            return False


def _read_header(content: bytes) -> _Header | None:
    found = _HEADER.match(content)
    if found is None:
        return None
    return _Header(found.group(1), found.group(2).decode(), int(found.group(3)), found.end())
