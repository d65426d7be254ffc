"""What travels on a stream, as bytes: encoded once, sent to everybody.

Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from fader.events import ChangeEvent, SnapshotEvent
from fader.model import Change, Flag, Guard, MembersDelta, Segment, Snapshot
from fader_server.telemetry.catalogue import StreamEvent

Message: TypeAlias = dict[str, Any]
"""ASGI's, for ``send``; one is shared by all who get the same."""

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


class Delivery(msgspec.Struct, frozen=True, eq=False):
    """What leads a stream from one version to another. Told apart by identity: each is made once.

    Args:
        event: What it consists of.
        message: It, ready for ``send``.
        leads_to: What who has read it has.
    """

    event: StreamEvent
    message: Message
    leads_to: Version


def body(content: bytes, *, is_last: bool = False) -> Message:
    """A part of an answer, for ``send``."""
    return {"type": "http.response.body", "body": content, "more_body": not is_last}


def snapshot_event(snapshot: Snapshot, ack_within_ms: int = 0) -> bytes:
    """The event that brings everything.

    Args:
        snapshot: What it brings.
        ack_within_ms: Milliseconds over which clients spread their acknowledgements.
    """
    announced = SnapshotEvent(**msgspec.structs.asdict(snapshot), ack_within_ms=ack_within_ms)
    return _event(b"snapshot", Version(snapshot.epoch, snapshot.revision), msgspec.json.encode(announced))


def change_event(change: Change, ack_within_ms: int = 0) -> bytes:
    """The event that brings what is different; arguments as of ``snapshot_event``."""
    announced = ChangeEvent(**msgspec.structs.asdict(change), ack_within_ms=ack_within_ms)
    return _event(b"change", Version(change.epoch, change.revision), msgspec.json.encode(announced))


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
    members: dict[str, tuple[MembersDelta, ...]] = {}
    guards: dict[str, tuple[Guard, ...]] = {}
    first = last = None
    for change in changes:
        first, last = first or change, change
        flags.update(change.flags)
        segments.update(change.segments)
        guards.update(change.guards)
        for name, deltas in change.members.items():
            members[name] = members.get(name, ()) + deltas
    if first is None or last is None:
        raise ValueError("there is nothing to merge")
    return Change(
        epoch=last.epoch,
        since=first.since,
        revision=last.revision,
        flags=flags,
        segments=segments,
        members=members,
        guards=guards,
    )
