"""What goes over the socket between the parent and a worker: frames, each after its length."""

import asyncio
import struct
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import msgspec
from msgspec import Struct

HELD_BYTES: Final = 8_388_608
"""How much may wait for somebody who does not read. What comes after that is lost, and that is told."""

LARGEST_BYTES: Final = 268_435_456
"""A longer frame is none: the other side is out of its mind."""

_LENGTH: Final = struct.Struct("!I")


class Said(Struct, frozen=True, tag="said", array_like=True):
    """For the other workers, or for one of them."""

    channel: str
    body: bytes
    to: int | None = None


class Lost(Struct, frozen=True, tag="lost", array_like=True):
    """Something was said, on whichever channel, that could not be passed on."""


class Serving(Struct, frozen=True, tag="serving", array_like=True):
    """A worker listens now. For the parent."""


class Peers(Struct, frozen=True, tag="peers", array_like=True):
    """The other workers that serve. From the parent."""

    numbers: frozenset[int]


Frame: TypeAlias = Said | Lost | Serving | Peers

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


def encoded(frame: Frame) -> bytes:
    """A frame as bytes, with its length."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


_LOST: Final = encoded(Lost())


class Conversation(asyncio.Protocol):
    """One end of the socket.

    Args:
        heard: called with each frame.
        ended: called when the other side is gone.
        held: bytes that may wait to be sent.
    """

    def __init__(
        self, heard: Callable[[Frame], None], ended: Callable[[], None] | None = None, *, held: int = HELD_BYTES
    ) -> None:
        self._heard = heard
        self._ended = ended
        self._limit = held
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_full = self._has_lost = False

    @property
    def is_open(self) -> bool:
        """Whether the other side is there."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes that the other side has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, frame: bytes) -> None:
        """Send a frame that is encoded already; or lose it, if the other side does not read, and tell it as soon as
        it does."""
        if self._is_full:
            self._has_lost = True
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def close(self) -> None:
        """Send what waits, and hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limit, low=self._limit // 4)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._ended is not None:
            self._ended()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._has_lost:
            self._has_lost = False
            self.send(_LOST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        begin = 0
        while len(self._received) - begin >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received, begin)
            if length > LARGEST_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            body, end = begin + _LENGTH.size, begin + _LENGTH.size + length
            if len(self._received) < end:
                break
            self._heard(_decoder.decode(memoryview(self._received)[body:end].tobytes()))
            begin = end
        del self._received[:begin]
