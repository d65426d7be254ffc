"""What travels on a stream, as bytes: encoded once, sent to everybody.

Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from fader.model import Change, Flag, Segment, Snapshot

HEARTBEAT: Final = b": heartbeat\n\n"
OPENING: Final = b": fader\n\n"

_VERSION: Final = re.compile(r"([0-9a-z]{1,64})-([0-9]{1,18})")


class Version(msgspec.Struct, frozen=True):
    """A revision of an epoch, as ``ETag`` and ``Last-Event-ID`` carry it."""

    epoch: str
    revision: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.revision}"

    @classmethod
    def parse(cls, text: str) -> "Version | None":
        """Read it back; ``None`` for anything else."""
        read = _VERSION.fullmatch(text)
        return None if read is None else cls(read[1], int(read[2]))


def snapshot_event(snapshot: Snapshot, encoded: bytes) -> bytes:
    """The event that brings everything; ``encoded`` is the snapshot as JSON."""
    return _event(b"snapshot", Version(snapshot.epoch, snapshot.revision), encoded)


def change_event(change: Change) -> bytes:
    """The event that brings what is different."""
    return _event(b"change", Version(change.epoch, change.revision), msgspec.json.encode(change))


def goodbye_event(retry_milliseconds: int) -> bytes:
    """The event that says: this stream ends, and nothing is wrong; come again after about this long."""
    return b"event: goodbye\nretry: %d\ndata: {}\n\n" % retry_milliseconds


def _event(name: bytes, version: Version, data: bytes) -> bytes:
    # JSON as msgspec writes it has no line breaks, so the data is one line.
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(version).encode(), name, data)


def merged(changes: Iterable[Change]) -> Change:
    """Several changes, each following on the one before, as one.

    Raises:
        ValueError: if there are none.
    """
    flags: dict[str, Flag | None] = {}
    segments: dict[str, Segment | None] = {}
    first = last = None
    for change in changes:
        first, last = first or change, change
        flags.update(change.flags)
        segments.update(change.segments)
    if first is None or last is None:
        raise ValueError("there is nothing to merge")
    return Change(epoch=last.epoch, since=first.since, revision=last.revision, flags=flags, segments=segments)
