"""A bet against "no harm" is a fair one: nobody can expect to win, whatever is looked at and when."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fader_server.ramps.evidence import LIFTS, Arm, Evidence, smallest_lift


def e_value(evidence: Evidence) -> float:
    return math.exp(evidence.log_e)


def binomial(failures: int, hits: int, share: Fraction) -> Fraction:
    return math.comb(failures, hits) * share**hits * (1 - share) ** (failures - hits)


arms = st.builds(
    lambda failed, well: Arm(exposed=failed + well, failed=failed), failed=st.integers(0, 20), well=st.integers(1, 200)
)
margins = st.sampled_from([0.0, 0.1, 1.0])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(arms, arms, st.integers(0, 50), st.integers(0, 50), st.integers(0, 6), margins)
def test_no_look_is_expected_to_win_when_there_is_no_harm(
    treatment: Arm, control: Arm, came: int, others_came: int, failures: int, margin: float
) -> None:
    before = Evidence().look(treatment, control, margin)
    exposed, others = treatment.exposed + came, control.exposed + others_came
    weight = (1 + Fraction(margin)) * (exposed - treatment.failed)
    share = weight / (weight + others - control.failed)
    expected = sum(
        float(binomial(failures, hits, share))
        * e_value(
            before.look(
                Arm(exposed=exposed, failed=treatment.failed + hits),
                Arm(exposed=others, failed=control.failed + failures - hits),
                margin,
            )
        )
        # Everybody who fails is somebody who has not failed before.
        for hits in range(failures + 1)
    )
    if failures <= min(exposed - treatment.failed, others - control.failed):
        assert expected == pytest.approx(e_value(before), rel=1e-9)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(arms, arms)
def test_one_look_is_the_mean_of_the_likelihood_ratios(treatment: Arm, control: Arm) -> None:
    share = treatment.exposed / (treatment.exposed + control.exposed)
    likelihood_ratios = [
        (lift / (lift * share + 1 - share)) ** treatment.failed * (1 / (lift * share + 1 - share)) ** control.failed
        for lift in LIFTS
    ]
    assert e_value(Evidence().look(treatment, control)) == pytest.approx(sum(likelihood_ratios) / len(LIFTS))


def test_what_is_unlikely_enough_is_worse() -> None:
    evidence = Evidence().look(Arm(exposed=100, failed=8), Arm(exposed=9_900, failed=50))
    assert evidence.is_worse(0.05)
    assert evidence.ratio == pytest.approx(15.84)
    assert evidence.log_e_reverse < 0
    assert not Evidence().look(Arm(exposed=100, failed=1), Arm(exposed=9_900, failed=50)).is_worse(0.05)


def test_an_incident_that_hits_everybody_is_no_evidence() -> None:
    evidence = Evidence()
    for hour in range(1, 20):
        evidence = evidence.look(
            Arm(exposed=1_000 * hour, failed=300 * hour), Arm(exposed=9_000 * hour, failed=2_700 * hour)
        )
    assert evidence.log_e < 0


def test_harm_within_the_margin_is_tolerated() -> None:
    treatment, control = Arm(exposed=10_000, failed=650), Arm(exposed=10_000, failed=500)
    assert Evidence().look(treatment, control).is_worse(0.05)
    assert not Evidence().look(treatment, control, margin=0.3).is_worse(0.05)


def test_estimates_that_shrink_take_nothing_back() -> None:
    evidence = Evidence().look(Arm(exposed=100, failed=8), Arm(exposed=900, failed=4))
    again = evidence.look(Arm(exposed=98, failed=7), Arm(exposed=890, failed=4))
    assert again == evidence


@pytest.mark.parametrize("arm", [Arm(exposed=0), Arm(exposed=50)])
def test_where_nobody_can_be_compared_nothing_is_found(arm: Arm) -> None:
    assert Evidence().look(arm, Arm()).log_e == pytest.approx(0.0)
    assert Evidence().look(Arm(), arm).log_e == pytest.approx(0.0)


def test_the_more_users_the_smaller_the_harm_that_is_caught() -> None:
    lifts = [smallest_lift(users, 99 * users, 0.005, 0.05) for users in (100, 1_000, 10_000)]
    assert all(lift is not None for lift in lifts)
    assert lifts == sorted(lifts, key=lambda lift: -(lift or 0))
    assert smallest_lift(1, 1, 0.005, 0.05) is None
    assert smallest_lift(100, 0, 0.005, 0.05) is None


def test_the_smallest_harm_is_just_enough() -> None:
    lift = smallest_lift(1_000, 1_000, 0.02, 0.05)
    assert lift is not None
    failed = round(1_000 * 0.02 * lift)
    assert Evidence().look(Arm(exposed=1_000, failed=failed + 1), Arm(exposed=1_000, failed=20)).is_worse(0.05)
    assert not Evidence().look(Arm(exposed=1_000, failed=failed - 2), Arm(exposed=1_000, failed=20)).is_worse(0.05)
