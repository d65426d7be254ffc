"""How long things took, in counts that add up."""

import msgspec
import pytest

from fader.durations import BUCKETS, Durations, Stopwatch, bucket_of


def of(*milliseconds: float) -> Durations:
    stopwatch = Stopwatch()
    for each in milliseconds:
        stopwatch.add(each)
    return stopwatch.durations


@pytest.mark.parametrize("milliseconds", [0.15, 1.0, 7.3, 120.0, 3_600_000.0])
def test_a_quantile_is_within_five_per_cent(milliseconds: float) -> None:
    assert of(milliseconds).within(0.95) == pytest.approx(milliseconds, rel=0.05)


def test_nineteen_of_twenty() -> None:
    durations = of(*[10.0] * 19, 500.0)
    assert durations.within(0.95) == pytest.approx(10, rel=0.05)
    assert durations.within(0.96) == pytest.approx(500, rel=0.05)
    assert durations.count == 20


def test_those_of_many_processes_add_up() -> None:
    both = of(1.0, 10.0).merged(of(10.0, 100.0))
    assert both == of(1.0, 10.0, 10.0, 100.0)
    assert both.merged(Durations()) == both


def test_of_nothing_there_is_no_quantile() -> None:
    assert Durations().within(0.5) is None
    assert not Durations()


@pytest.mark.parametrize("milliseconds", [-5.0, 0.0, 1e-9, 1e300])
def test_whatever_it_is_there_is_a_bucket_for_it(milliseconds: float) -> None:
    assert 0 <= bucket_of(milliseconds) < BUCKETS


def test_they_travel_as_json_and_are_bounded() -> None:
    durations = of(1.0, 2.0)
    assert msgspec.json.decode(msgspec.json.encode(durations), type=Durations) == durations
    for wrong in (b'{"buckets":{"201":1}}', b'{"buckets":{"1":-1}}', b'{"buckets":{"1":10000000000000000}}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Durations)
    most = Durations(buckets={1: 2**53})
    assert most.merged(most) == most, "what cannot be read again must not come about"
