"""The last good snapshot on disk, from which a process answers that starts while the server is away.

One file per server and key. It is replaced whole, by a rename, so that readers and other processes of the same app
see either the old copy or the new one; a checksum tells a damaged copy from a good one. It never expires: flags of
last week are nearer to what was decided than the defaults in the code.
"""

import contextlib
import hashlib
import os
import re
import stat
import time
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fader.model import Snapshot
from fader.payloads import PayloadError, read_snapshot

_FORMAT: Final = b"fader-cache-1"
_HEADER: Final = re.compile(_FORMAT + rb" ([0-9a-f]{64}) ([0-9a-z]*) (\d{1,18})\n")
_LARGEST_HEADER: Final = 256
_LARGEST_FILE: Final = 512 * 1024 * 1024
_ABANDONED_AFTER: Final = 3600.0  # seconds after which another process's temporary file is a dead one's


class CacheError(Exception):
    """The copy cannot be read or written. The text says why, for the log."""


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

    def load(self) -> Snapshot | None:
        """The copy, or ``None`` if there is none.

        Raises:
            CacheError: There is one, but it cannot be used.
        """
        try:
            content = self._read(_LARGEST_FILE)
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
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._replace(header, body)
        except OSError as error:
            raise CacheError(str(error)) from error

    def _has_later(self, snapshot: Snapshot) -> bool:
        """Whether the file holds a later revision of the same epoch, and holds it in good order."""
        try:
            header = _read_header(self._read(_LARGEST_HEADER))
        except (FileNotFoundError, CacheError):
            return False
        if header is None or header.epoch != snapshot.epoch or header.revision <= snapshot.revision:
            return False
        try:
            return self.load() is not None
        except CacheError:
            return False

    def _read(self, most: int) -> bytes:
        # Whatever has been put in its place, it must not hold up the application: a pipe would, without O_NONBLOCK.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(self.path, flags), "rb") as file:  # noqa: PTH123 (flags are needed)
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
                raise CacheError("it is no file of ours")
            if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
                raise CacheError("it belongs to another user")
            return file.read(most)

    def _replace(self, *parts: bytes) -> None:
        temporary = self.path.with_name(f"{self.path.name}.{os.urandom(8).hex()}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, made with its mode, has no path)
                file.writelines(parts)
                file.flush()
                # Without it a power cut can leave the new name with no content, and the old copy gone.
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._sweep()

    def _sweep(self) -> None:
        """Remove what processes that were killed while writing have left behind."""
        with contextlib.suppress(OSError):
            for leftover in self.path.parent.glob(f"{self.path.name}.*.tmp"):
                if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER:
                    leftover.unlink()


def _read_header(content: bytes) -> _Header | None:
    found = _HEADER.match(content)
    if found is None:
        return None
    return _Header(found.group(1), found.group(2).decode(), int(found.group(3)), found.end())
