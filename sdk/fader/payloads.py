"""What a server sends, from bytes to values that can be trusted to be of the right form. Bad ones are refused whole."""

import re
from typing import Final, TypeVar

import msgspec

from fader.model import Change, Snapshot

# An epoch goes back to the server in a header; nothing else than this may get there.
_EPOCH: Final = re.compile(r"[0-9a-z]{1,64}")
_LARGEST_REVISION: Final = 2**63 - 1

_snapshots = msgspec.json.Decoder(Snapshot)
_changes = msgspec.json.Decoder(Change)

T = TypeVar("T", Snapshot, Change)


class PayloadError(Exception):
    """What has come is not what it should be. The text says what is wrong, for the log."""


def read_snapshot(data: bytes | memoryview) -> Snapshot:
    """A snapshot from its JSON.

    Raises:
        PayloadError: It is none.
    """
    return _read(_snapshots, data)


def read_change(data: bytes) -> Change:
    """A change from its JSON.

    Raises:
        PayloadError: It is none.
    """
    return _read(_changes, data)


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
