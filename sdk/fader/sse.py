"""Server-Sent Events, from bytes to events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A push parser: it is fed what has arrived and yields what is complete. It knows nothing of connections.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name (``message`` where the server gave none), its data, lines joined by newlines, and its id.

    The id is what this event itself says, not that of an earlier one; whoever reads it decides whether to believe it.
    """

    name: str
    data: bytes
    id: str = ""


class EventTooLargeError(Exception):
    """The server sent more bytes without completing an event than the reader is willing to hold."""


class EventParser:
    """Collects the bytes of one stream and yields its events.

    Args:
        largest: Bytes that one event may take, before it is refused.

    >>> parser = EventParser()
    >>> list(parser.feed(b": heartbeat\\n\\nevent: change\\ndata: {}\\n"))
    []
    >>> parser.pending, list(parser.feed(b"\\n"))
    (True, [Event(name='change', data=b'{}', id='')])
    """

    def __init__(self, largest: int = 256 * 1024 * 1024) -> None:
        self._largest = largest
        self._held = 0
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._name = self._id = b""
        self._at_start = True
        self._after_cr = False
        self.retry: float | None = None
        """The pause before reconnecting that the server last asked for, in seconds."""

    @property
    def pending(self) -> bool:
        """Whether a part of an event, or of a line, has arrived and the rest has not."""
        return bool(self._line or self._data or self._name or self._id)

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take in bytes, in whatever portions the network gave them.

        Args:
            chunk: The bytes that came next.

        Yields:
            Each event that these bytes complete, in order.

        Raises:
            EventTooLargeError: An event has outgrown ``largest``.
        """
        start = 0
        if self._after_cr and chunk:
            # A CR at the end of the last chunk ended its line; a LF that follows belongs to it.
            self._after_cr = False
            start = 1 if chunk.startswith(b"\n") else 0
        while (end := _LINE_END.search(chunk, start)) is not None:
            event = self._end_of_line(b"".join((*self._line, chunk[start : end.start()])))
            self._line.clear()
            # Counted from what came in, not from what is kept: empty lines take memory as well.
            self._held += end.end() - start
            start = end.end()
            self._after_cr = start == len(chunk) and end.group() == b"\r"
            if not self.pending:
                self._held = 0
            self._refuse_too_large()
            if event is not None:
                yield event
        if start < len(chunk):
            rest = chunk[start:] if start else chunk
            self._line.append(rest)
            self._held += len(rest)
            self._refuse_too_large()

    def _refuse_too_large(self) -> None:
        if self._held > self._largest:
            raise EventTooLargeError(f"an event of more than {self._largest:,} bytes")

    def _end_of_line(self, line: bytes) -> Event | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value
        elif field == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value) / 1000
        elif field == b"id":
            self._id = value
        return None

    def _dispatch(self) -> Event | None:
        data, name, event_id = self._data, self._name, self._id
        self._data, self._name, self._id = [], b"", b""
        if not data:
            return None
        return Event(
            name.decode("utf-8", "replace") or "message", b"\n".join(data), event_id.decode("utf-8", "replace")
        )
