"""What servers do with reports: merge them, in any order and as often as they come."""

import msgspec
import pytest

from fader.durations import Durations
from fader.outcomes import Arm, OutcomeReport, Outcomes, Sums
from fader.sketches import Sketch


def arm(exposed: str, failed: str = "", *values: float) -> Arm:
    """Users by their letters."""
    sums = Sums(count=len(values), total=sum(values), squares=sum(value * value for value in values))
    return Arm(exposed=sketch(exposed), failed=sketch(failed), sums=sums)


def sketch(users: str) -> bytes:
    return Sketch(letter.encode() * 8 for letter in users).encode()


def test_users_of_several_reports_are_counted_once() -> None:
    one = Outcomes(treatment=arm("abc", "a"), control=arm("xy"))
    other = Outcomes(treatment=arm("bcd", "ab"), control=arm("z", "z"))
    both = one.merged(other)
    assert both.treatment.counts() == (4, 2)
    assert both.control.counts() == (3, 1)
    assert both.merged(one).merged(other).treatment.counts() == (4, 2)
    assert other.merged(one) == both


def test_sums_add_up() -> None:
    both = arm("a", "", 1.0, 2.0).merged(arm("b", "", 3.0))
    assert both.sums == Sums(count=3, total=6.0, squares=14.0)
    assert Outcomes(of_nobody=2).merged(Outcomes(of_nobody=3)).of_nobody == 5


def test_durations_add_up() -> None:
    some = Arm(durations=Durations(buckets={1: 2, 5: 1}))
    assert some.merged(Arm(durations=Durations(buckets={5: 1}))).durations.buckets == {1: 2, 5: 2}


def test_what_adds_up_can_be_left_out() -> None:
    whole = msgspec.structs.replace(arm("ab", "a", 1.0), durations=Durations(buckets={1: 1}))
    assert whole.users_only() == Arm(exposed=whole.exposed, failed=whole.failed)


def test_nobody_is_nothing() -> None:
    assert Outcomes().treatment.counts() == (0, 0)
    assert Outcomes().merged(Outcomes()) == Outcomes()


def test_a_report_is_json() -> None:
    outcomes = Outcomes(treatment=arm("ab", "a", 2.5), of_nobody=1)
    report = OutcomeReport(id="1", instance="web-1", app="shop", guards={"ramp.1.errors": outcomes})
    assert msgspec.json.decode(msgspec.json.encode(report), type=OutcomeReport) == report


@pytest.mark.parametrize("broken", [Arm(exposed=b"nonsense"), Arm(failed=b"")])
def test_what_is_no_sketch_is_neither_merged_nor_counted(broken: Arm) -> None:
    for whole in (Outcomes(treatment=broken), Outcomes(control=broken)):
        with pytest.raises(ValueError, match="not a sketch"):
            Outcomes().merged(whole)
        with pytest.raises(ValueError, match="not a sketch"):
            whole.merged(Outcomes())
    with pytest.raises(ValueError, match="not a sketch"):
        broken.counts()
