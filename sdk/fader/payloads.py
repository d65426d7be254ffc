"""What a server sends, from bytes to values that can be trusted to be of the right form. Bad ones are refused whole."""

import re
from typing import Final, NamedTuple, TypeVar

import msgspec

from fader.events import ChangeEvent, SnapshotEvent
from fader.model import Change, Snapshot

# An epoch goes back to the server in a header; nothing else than this may get there.
_EPOCH: Final = re.compile(r"[0-9a-z]{1,64}")
_LARGEST_REVISION: Final = 2**63 - 1

_snapshots = msgspec.json.Decoder(Snapshot)
_snapshot_events = msgspec.json.Decoder(SnapshotEvent)
_change_events = msgspec.json.Decoder(ChangeEvent)

T = TypeVar("T", bound=Snapshot | Change)


class News(NamedTuple):
    """What an event of a stream has brought. What is only said on the stream stands beside it, and is not kept."""

    content: Snapshot | Change
    ack_within_ms: int
    """Milliseconds within which the server wants to hear that it was applied."""


class PayloadError(Exception):
    """What has come is not what it should be. The text says what is wrong, for the log."""


def read_snapshot(data: bytes | memoryview) -> Snapshot:
    """A snapshot from its JSON.

    Raises:
        PayloadError: It is none.
    """
    return _read(_snapshots, data)


def read_news(name: str, data: bytes) -> News | None:
    """What the event called ``name`` brings; ``None`` for an event of a newer server, which has nothing that a client
    of this age would have to know.

    Raises:
        PayloadError: It is not what its name says.
    """
    if name == "snapshot":
        snapshot = _read(_snapshot_events, data)
        return News(_without_more(Snapshot, snapshot), snapshot.ack_within_ms)
    if name == "change":
        change = _read(_change_events, data)
        return News(_without_more(Change, change), change.ack_within_ms)
    return None


def _read(decoder: "msgspec.json.Decoder[T]", data: bytes | memoryview) -> T:
    try:
        document = decoder.decode(data)
    # Text that is not UTF-8 and nesting without end come as their own kinds of error.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PayloadError(str(error)) from error
    if _EPOCH.fullmatch(document.epoch) is None:
        raise PayloadError("its epoch has characters that no epoch has")
    if not 0 <= document.revision <= _LARGEST_REVISION:
        raise PayloadError("its revision is none that a database could have given")
    return document


def _without_more(kind: type[T], document: T) -> T:
    return kind(**{name: getattr(document, name) for name in kind.__struct_fields__})
