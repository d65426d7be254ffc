"""How many different users there were, in 3 KB at most, and mergeable: exact for a few hundred, to about 1.6 % beyond.

A user is a hash of 64 bits. While they are few, the hashes themselves are kept; from then on a HyperLogLog of 4,096
registers (Flajolet et al., 2007), whose count is Ertl's improved raw estimate ("New cardinality estimation algorithms
for HyperLogLog sketches", 2017), which needs no tables and no special cases. Merging is a union: in any order, and as
often as one likes, it comes to the same.

It is written here because the form on the wire has to stay readable between all versions of SDKs and servers, in other
languages too, and because users must be hashed with a key: the libraries that we know hash by themselves, and their
forms are their own. (Apache DataSketches, the one with a form that is specified, brings NumPy into every application.)
"""

import math
import sys
from array import array
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

HASH_BYTES: Final = 8
MOST_EXACT: Final = 384
"""Hashes that are kept as they are: as many as take the room of the registers."""

_INDEX_BITS: Final = 12
_REGISTERS: Final = 1 << _INDEX_BITS
_RANK_BITS: Final = 64 - _INDEX_BITS
_RANK_MASK: Final = (1 << _RANK_BITS) - 1
_HIGHEST: Final = _RANK_BITS + 1
"""A register's highest value: that of a hash whose other bits are all zero."""
_VALUES: Final = bytes(range(_HIGHEST + 1))

_EXACT: Final = b"\x01"
_ESTIMATED: Final = b"\x02"
"""The first byte says which form follows: hashes in ascending order, or registers of six bits, both big-endian."""

_PACKED: Final = _REGISTERS * 6 // 8


class Sketch:
    """A set of users, of which no more is known than how many they are.

    >>> some, others = Sketch([b"8 bytes!"]), Sketch([b"8 bytes!", b"8 more.."])
    >>> some.merge(others)
    >>> some.count()
    2
    >>> Sketch.decode(some.encode()).count()
    2
    """

    __slots__ = ("_hashes", "_registers")

    def __init__(self, hashes: Iterable[bytes] = ()) -> None:
        # In one piece and in order, as they travel: 384 objects in a set would be ten times as large.
        self._hashes = b""
        self._registers: bytearray | None = None
        self.add(hashes)

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self._hashes) or self._registers is not None

    def add(self, hashes: Iterable[bytes]) -> None:
        """Take in users.

        Args:
            hashes: Of eight bytes each, evenly distributed.
        """
        if self._registers is not None:
            _raise(self._registers, hashes)
            return
        all_ = {*_split(self._hashes), *hashes}
        if len(all_) <= MOST_EXACT:
            self._hashes = b"".join(sorted(all_))
        else:
            self._hashes, self._registers = b"", bytearray(_REGISTERS)
            _raise(self._registers, all_)

    def merge(self, other: "Sketch") -> None:
        """Take in all users of another sketch."""
        if other._registers is None:  # noqa: SLF001 (one of us)
            self.add(_split(other._hashes))  # noqa: SLF001
        elif self._registers is None:
            registers = other._registers.copy()  # noqa: SLF001
            _raise(registers, _split(self._hashes))
            self._hashes, self._registers = b"", registers
        else:
            self._registers = _highest(self._registers, other._registers)  # noqa: SLF001

    def count(self) -> int:
        """How many there are: exactly up to ``MOST_EXACT``, else about."""
        if self._registers is None:
            return len(self._hashes) // HASH_BYTES
        return round(_estimate(self._registers))

    def encode(self) -> bytes:
        """The sketch as it travels and is stored."""
        return _EXACT + self._hashes if self._registers is None else _ESTIMATED + _pack(self._registers)

    @classmethod
    def decode(cls, form: bytes) -> "Sketch":
        """Read what ``encode`` has written.

        Raises:
            ValueError: It is no such thing, or one of a newer kind.
        """
        sketch = cls()
        kind, content = form[:1], form[1:]
        if kind == _EXACT:
            if len(content) % HASH_BYTES or len(content) > MOST_EXACT * HASH_BYTES:
                raise ValueError("not a sketch: its length is wrong")
            if any(one >= next_ for one, next_ in pairwise(_split(content))):
                raise ValueError("not a sketch: its hashes are not in order")
            sketch._hashes = bytes(content)
        elif kind == _ESTIMATED:
            if len(content) != _PACKED:
                raise ValueError("not a sketch: its length is wrong")
            sketch._registers = _unpack(content)
            if sketch._registers.translate(None, _VALUES):
                raise ValueError("not a sketch: a register is too high")
        else:
            raise ValueError("not a sketch of a kind that is known here")
        return sketch


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def _raise(registers: bytearray, hashes: Iterable[bytes]) -> None:
    """Raise each hash's register to its rank, which is how many of its other bits are zeros in front, and one."""
    numbers = array("Q", b"".join(hashes))
    if sys.byteorder == "little":
        numbers.byteswap()
    for number in numbers:
        rank = _HIGHEST - (number & _RANK_MASK).bit_length()
        if registers[number >> _RANK_BITS] < rank:
            registers[number >> _RANK_BITS] = rank


# What follows treats all registers at once, as numbers of 4,096 bytes: the interpreter adds and masks these a thousand
# times as fast as it visits each register, and a server merges thousands of sketches in a second.

_TOP_BITS: Final = int.from_bytes(b"\x80" * _REGISTERS)


def _highest(some: bytearray, others: bytearray) -> bytearray:
    """The higher one of each two registers. None of them needs the top bit of its byte."""
    left, right = int.from_bytes(some), int.from_bytes(others)
    # The top bit of a byte survives the subtraction where the left one is not lower, and nothing is ever borrowed.
    not_lower = ((left | _TOP_BITS) - right) & _TOP_BITS
    mask = not_lower - (not_lower >> 7)  # 0x7f in such a byte, else nothing
    return bytearray(((left & mask) | (right & ~mask)).to_bytes(_REGISTERS))


def _shifted(by: int) -> bytes:
    """A table for ``bytes.translate`` that shifts each byte to the left, or by less than nothing to the right."""
    return bytes((value << by if by >= 0 else value >> -by) & 0xFF for value in range(256))


_LEFT_2, _LEFT_4, _LEFT_6, _RIGHT_2, _RIGHT_4, _RIGHT_6 = (_shifted(by) for by in (2, 4, 6, -2, -4, -6))
_LOW_SIX: Final = bytes(value & 0x3F for value in range(256))


def _either(some: bytes | bytearray, others: bytes | bytearray) -> bytes:
    return (int.from_bytes(some) | int.from_bytes(others)).to_bytes(len(some))


def _pack(registers: bytearray) -> bytes:
    """Four registers of six bits in three bytes."""
    first, second, third, fourth = (registers[at::4] for at in range(4))
    packed = bytearray(_PACKED)
    packed[0::3] = _either(first.translate(_LEFT_2), second.translate(_RIGHT_4))
    packed[1::3] = _either(second.translate(_LEFT_4), third.translate(_RIGHT_2))
    packed[2::3] = _either(third.translate(_LEFT_6), fourth)
    return bytes(packed)


def _unpack(packed: bytes) -> bytearray:
    first, second, third = (packed[at::3] for at in range(3))
    registers = bytearray(_REGISTERS)
    registers[0::4] = first.translate(_RIGHT_2)
    registers[1::4] = _either(first.translate(_LEFT_4), second.translate(_RIGHT_4)).translate(_LOW_SIX)
    registers[2::4] = _either(second.translate(_LEFT_2), third.translate(_RIGHT_6)).translate(_LOW_SIX)
    registers[3::4] = third.translate(_LOW_SIX)
    return registers


def _estimate(registers: bytearray) -> float:
    """Ertl's algorithm 6, in his names."""
    sum_ = _REGISTERS * _tau(1 - registers.count(_HIGHEST) / _REGISTERS)
    for value in range(_RANK_BITS, 0, -1):
        sum_ = 0.5 * (sum_ + registers.count(value))
    sum_ += _REGISTERS * _sigma(registers.count(0) / _REGISTERS)
    return _REGISTERS * _REGISTERS / (2 * math.log(2) * sum_)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
