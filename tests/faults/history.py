"""What happened in a run, as everybody saw it from where they stood: one JSON line for each thing.

Times are seconds of ``time.monotonic``, which all processes of a machine share. Each process writes a file of its
own, whole lines at a time, so that killing it loses nothing of what it had seen.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, Struct

Outcome: TypeAlias = Literal["done", "refused", "unchanged", "unknown"]
"""What its sender knows of a write: it was acknowledged; it was refused; the server said that it has changed nothing;
or no try of it was answered, so that it may or may not have been made, and may still be."""


class Write(Struct, frozen=True, kw_only=True, tag="write"):
    """A request to change something, with all its tries.

    Args:
        writer: Who wanted it.
        request: The method and the path.
        reason: What no other write has, so that it can be found in the log.
        environments: Where it makes a change, if it makes any.
        began: Before the first try.
        ended: After the last one.
        status: Of the last answer.
        revision: What was answered.
        changed: Whether it made a difference, by the answer.
        tries: How many there were.
        detail: What went wrong, for people.
    """

    writer: str
    request: str
    reason: str
    environments: tuple[str, ...]
    began: float
    ended: float
    outcome: Outcome
    status: int | None = None
    revision: int | None = None
    changed: bool | None = None
    tries: int = 1
    detail: str = ""


class Sample(Struct, frozen=True, kw_only=True, tag="sample"):
    """An answer that an SDK gave to its application.

    Args:
        client: Which SDK, in which life of its process; behind a slash, which of several observers of it.
        at: Right after the answer.
        revision: The environment's, as the answer says.
        context: Whom the flag was evaluated for: attributes, the targeting key among them.
    """

    client: str
    environment: str
    at: float
    revision: int
    flag: str
    context: dict[str, Any]
    variant: str | None
    enabled: bool
    value: Any
    reason: str
    error: str | None = None


class Opened(Struct, frozen=True, kw_only=True, tag="opened"):
    """A raw stream was opened.

    Args:
        stream: Which one: it has many connections, one after the other.
        connection: Counted from 1.
        since: ``Last-Event-ID``, empty without.
    """

    stream: str
    environment: str
    connection: int
    at: float
    since: str


class Event(Struct, frozen=True, kw_only=True, tag="event"):
    """What a raw stream brought; ``id`` as it stands on the wire, and the data as they are."""

    stream: str
    environment: str
    connection: int
    at: float
    id: str
    name: str
    data: Raw


class Fault(Struct, frozen=True, kw_only=True, tag="fault"):
    """Something that was broken on purpose, from ``began`` until it was mended at ``ended``."""

    what: str
    began: float
    ended: float


class Reached(Struct, frozen=True, kw_only=True, tag="reached"):
    """Where somebody who follows an environment stood when it should have arrived at ``wanted``."""

    follower: str
    environment: str
    at: float
    wanted: int
    revision: int
    detail: str = ""


Record: TypeAlias = Write | Sample | Opened | Event | Fault | Reached
RecordT = TypeVar("RecordT", bound=Record)


class LogEntry(Struct, frozen=True, kw_only=True):
    """A row of the log of changes, read from the database. ``before`` and ``after`` are JSON."""

    id: int
    environment: str
    epoch: str
    revision: int
    kind: str
    key: str
    action: str
    reason: str
    before: str | None
    after: str | None


class Count(Struct, frozen=True, kw_only=True):
    """What the database says of how often a variant was served."""

    environment: str
    flag: str
    variant: str
    count: int


class Recorder:
    """Appends to a file. It may be used by all threads."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(self, *records: Record) -> None:
        os.write(self._file, b"".join(msgspec.json.encode(record) + b"\n" for record in records))

    def close(self) -> None:
        os.close(self._file)


_decoder = msgspec.json.Decoder(Record)


def read_history(paths: Iterable[Path]) -> list[Record]:
    """All records of some files; those of one file in their order. A last line that is not whole is left out."""
    found: list[Record] = []
    for path in paths:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
        found += [_decoder.decode(line) for line in whole.splitlines()]
    return found


def records_of(kind: type[RecordT], history: Iterable[Record]) -> list[RecordT]:
    """Those of one kind, in their order."""
    return [record for record in history if isinstance(record, kind)]
