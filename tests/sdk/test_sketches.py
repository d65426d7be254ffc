"""Sketches count users: exactly while they are few, closely when they are many, and each once however they come."""

import hashlib
import random
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader import sketches
from fader.sketches import MOST_EXACT, Sketch
from flag_strategies import examples

REGISTERS = 4_096
CROWDS = st.tuples(st.integers(0, 900), st.integers(0, 1_500))
"""How many users, and from which on: they overlap."""


def users(count: int, first: int = 0) -> list[bytes]:
    return [hashlib.blake2b(b"%d" % number, digest_size=8).digest() for number in range(first, first + count)]


def merged(*parts: Sketch) -> Sketch:
    whole = Sketch()
    for part in parts:
        whole.merge(part)
    return whole


@pytest.mark.parametrize("count", [0, 1, 2, MOST_EXACT - 1, MOST_EXACT])
def test_few_are_counted_exactly(count: int) -> None:
    sketch = Sketch(users(count))
    sketch.add(users(count))
    assert sketch.count() == count


@pytest.mark.parametrize("count", [MOST_EXACT + 1, 1_000, 3_000, 10_000, 50_000])
def test_many_are_counted_closely(count: int) -> None:
    # Three standard errors, 1.04 divided by the root of the number of registers; these users are always the same.
    assert Sketch(users(count)).count() == pytest.approx(count, rel=0.05)


def test_on_average_the_count_is_right() -> None:
    counts = [Sketch(users(2_000, first=run * 2_000)).count() for run in range(40)]
    assert sum(counts) / len(counts) == pytest.approx(2_000, rel=0.01)


def test_users_who_come_by_different_ways_are_counted_once() -> None:
    hosts = [Sketch(users(300, first=100 * host)) for host in range(20)]
    assert merged(*hosts).count() == pytest.approx(2_200, rel=0.05)
    assert merged(*hosts, *hosts).encode() == merged(*hosts).encode()


@examples(60)
@given(st.lists(CROWDS, min_size=1, max_size=4), st.randoms())
def test_order_and_repetition_of_merging_make_no_difference(crowds: list[tuple[int, int]], rng: random.Random) -> None:
    parts = [users(count, first) for count, first in crowds]
    at_once = Sketch(hash_ for part in parts for hash_ in part).encode()
    several = [Sketch(part) for part in parts]
    shuffled = rng.sample(several, len(several)) + several
    assert merged(*shuffled).encode() == at_once
    # … and merging leaves what is merged as it was.
    assert [sketch.encode() for sketch in several] == [Sketch(part).encode() for part in parts]


@pytest.mark.parametrize("count", [0, 1, MOST_EXACT, MOST_EXACT + 1, 20_000])
def test_a_sketch_travels_in_three_kilobytes(count: int) -> None:
    form = Sketch(users(count)).encode()
    assert len(form) <= 3_073
    assert Sketch.decode(form).encode() == form


def test_the_form_is_the_same_for_ever() -> None:
    """What servers have stored, and what SDKs of other versions send, must be read by all that come after."""
    few, many = Sketch(users(3)).encode(), Sketch(users(5_000)).encode()
    assert few == b"\x01" + b"".join(sorted(users(3)))
    assert few.hex() == "011bf41ef6fd6f6f6c842b7d9d43cddf75f6fc42039fba3776"
    assert many[:9].hex() == "020410800010430030"
    assert hashlib.sha256(many).hexdigest() == "296214d899efd12435318119d08dbf1321d29ba0b19a761e77bf258fae4ba277"


def test_a_register_holds_the_longest_run_of_zeros() -> None:
    numbers = [0, 1, 1 << 51, (1 << 52) - 1, 1 << 52, 0xFFF << 52]
    sketch = Sketch([*users(1_000), *(number.to_bytes(8) for number in numbers)])
    registers = bytearray(REGISTERS)
    for hash_ in [*users(1_000), *(number.to_bytes(8) for number in numbers)]:
        bits = f"{int.from_bytes(hash_):064b}"
        rank = len(bits[12:]) - len(bits[12:].lstrip("0")) + 1
        registers[int(bits[:12], 2)] = max(registers[int(bits[:12], 2)], rank)
    assert sketches._unpack(sketch.encode()[1:]) == registers
    assert registers[0] == registers[0xFFF] == 53


def test_all_registers_at_once_are_each_of_them() -> None:
    rng = random.Random(7)
    left, right = (bytearray(rng.choices(range(54), k=REGISTERS)) for _ in range(2))
    left[:54], right[:54] = range(54), range(53, -1, -1)
    assert sketches._unpack(sketches._pack(left)) == left
    assert sketches._highest(left, right) == bytearray(map(max, left, right))


REFUSED = {
    "nothing": b"",
    "a kind that is not known": b"\x03" + bytes(3_072),
    "half a hash": b"\x01" + bytes(7),
    "too many hashes": b"\x01" + b"".join(sorted(users(MOST_EXACT + 1))),
    "hashes out of order": b"\x01" + b"bbbbbbbb" + b"aaaaaaaa",
    "a hash twice": b"\x01" + b"aaaaaaaa" * 2,
    "too few registers": b"\x02" + bytes(3_071),
    "too many registers": b"\x02" + bytes(3_073),
    "a register that no hash can raise": b"\x02" + b"\xff" * 3_072,
}


@pytest.mark.parametrize("form", REFUSED.values(), ids=REFUSED)
def test_what_is_no_sketch_is_refused(form: bytes) -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Sketch.decode(form)


def test_emptiness() -> None:
    assert not Sketch()
    assert not Sketch.decode(Sketch().encode())
    assert Sketch(users(1))
    assert Sketch(users(1_000))
    assert reduce(lambda a, b: merged(a, b), [Sketch()] * 3).encode() == Sketch().encode()
