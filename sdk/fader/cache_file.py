"""A file that one process replaces whole while others read it, and in whose place anything may have been put."""

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import Final

LARGEST: Final = 512 * 1024 * 1024
"""Bytes of a file beyond which it is none of ours."""

_ABANDONED_AFTER: Final = 3600.0  # seconds after which another process's temporary file is a dead one's


class CacheError(Exception):
    """The copy cannot be read or written. The text says why, for the log."""


class CacheFile:
    """One file.

    Args:
        path: Where it is, or is to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, most: int = LARGEST) -> bytes:
        """What it holds, or the first bytes of that.

        Raises:
            FileNotFoundError: There is none.
            CacheError: It is no file of ours.
            OSError: It cannot be read.
        """
        # Whatever has been put in its place, it must not hold up the application: a pipe would, without O_NONBLOCK.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(self.path, flags), "rb") as file:  # noqa: PTH123 (flags are needed)
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                raise CacheError("it is no file of ours")
            if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
                raise CacheError("it belongs to another user")
            return file.read(most)

    def replace(self, *parts: bytes) -> None:
        """Put these bytes in its place, for the owner alone; the folder is made if it is missing.

        Raises:
            OSError: The disk is full, read-only, or otherwise not willing.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
