"""Is it worse for those who have the feature? A test that may be looked at as often as one likes.

Each new failure happened to somebody with the feature or to somebody without. If the feature does no harm, the former
is as likely as the share of users at risk who have it, however often and whenever one looks; if it multiplies failures
by a lift, it is likelier by so much. The product of these ratios is a bet against "no harm" that nobody can expect to
win: a non-negative martingale, so that it ever reaches 1/α with probability α at most (Ville's inequality). Several
lifts are bet on, with an equal share of the stake each.

A sequential log-rank test, in the tradition of Shafer, "Testing by betting" (2021), and Ramdas et al., "Game-theoretic
statistics and safe anytime-valid inference" (2023); applied to deployments as by Lindon et al., "Rapid regression
detection in software deployments through sequential testing" (KDD 2022).
"""

import math
from typing import Final

from msgspec import Struct

LIFTS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""How many times as many failures are bet on."""

_NO_BETS: Final = (0.0,) * len(LIFTS)


class Arm(Struct, frozen=True, kw_only=True):
    """Distinct users with the feature, or without it, counted from the beginning of a step.

    Args:
        exposed: Who came to where the guard is.
        failed: Who of them has failed at least once.
    """

    exposed: int = 0
    failed: int = 0


_NOBODY: Final = Arm()


class Evidence(Struct, frozen=True, kw_only=True):
    """What all looks at one guard in one step have come to. A look gives the next one.

    Args:
        log_bets: The logarithm of what the stake on each of ``LIFTS`` has become.
        log_reverse_bets: The same for the opposite: that failures are as much likelier without the feature.
        treatment: Those with the feature, at the last look.
        control: Those without, at the last look.
    """

    log_bets: tuple[float, ...] = _NO_BETS
    log_reverse_bets: tuple[float, ...] = _NO_BETS
    treatment: Arm = _NOBODY
    control: Arm = _NOBODY

    def look(self, treatment: Arm, control: Arm, margin: float = 0.0) -> "Evidence":
        """Take in what has been counted until now.

        Args:
            treatment: Those with the feature, from the beginning of the step. Counts that are estimates may be lower
                than before; they are taken to be what they were.
            control: Those without.
            margin: The harm that is tolerated: 0.1 for a tenth more failures.
        """
        treatment = _later(self.treatment, treatment)
        control = _later(self.control, control)
        failed = treatment.failed - self.treatment.failed
        others_failed = control.failed - self.control.failed
        at_risk = treatment.exposed - self.treatment.failed
        others_at_risk = control.exposed - self.control.failed
        if not (at_risk and others_at_risk and failed + others_failed):
            return Evidence(
                log_bets=self.log_bets, log_reverse_bets=self.log_reverse_bets, treatment=treatment, control=control
            )
        share = (1 + margin) * at_risk / ((1 + margin) * at_risk + others_at_risk)
        return Evidence(
            log_bets=_raised(self.log_bets, failed, others_failed, share),
            log_reverse_bets=_raised(self.log_reverse_bets, others_failed, failed, 1 - share),
            treatment=treatment,
            control=control,
        )

    @property
    def log_e(self) -> float:
        """The logarithm of the e-value: of the mean of all stakes. 0 at the beginning."""
        return _log_mean(self.log_bets)

    @property
    def log_e_reverse(self) -> float:
        """The same for "worse without it": the evidence that the feature does not do harm."""
        return _log_mean(self.log_reverse_bets)

    def is_worse(self, alpha: float) -> bool:
        """Whether there is harm beyond the margin; wrongly so with probability ``alpha`` at most, however often it is
        asked."""
        return self.log_e >= -math.log(alpha)

    @property
    def ratio(self) -> float | None:
        """How many times as often users with the feature have failed; ``None`` while nobody else has."""
        if not (self.treatment.exposed and self.control.exposed and self.control.failed):
            return None
        return (self.treatment.failed / self.treatment.exposed) / (self.control.failed / self.control.exposed)


def smallest_lift(exposed: float, others: float, failing: float, alpha: float, margin: float = 0.0) -> float | None:
    """The smallest harm that a step can be expected to catch before it ends.

    Args:
        exposed: Users who will have the feature.
        others: Users who will not.
        failing: The share of users who fail without it, between 0 and 1.
        alpha: As of ``is_worse``.
        margin: As of ``look``.

    Returns:
        How many times as many failures: that at which the counts to be expected are just enough evidence. ``None`` if
        not even everybody's failing would be.
    """
    most = 1 / failing if failing > 0 else math.inf

    def is_caught(lift: float) -> bool:
        share = (1 + margin) * exposed / ((1 + margin) * exposed + others)
        bets = _raised(_NO_BETS, exposed * failing * lift, others * failing, share)
        return _log_mean(bets) >= -math.log(alpha)

    if not (exposed > 0 and others > 0 and math.isfinite(most)) or not is_caught(most):
        return None
    low, high = 1.0 + margin, most
    while high - low > 0.01 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_caught(middle) else (middle, high)
    return high


def _later(before: Arm, now: Arm) -> Arm:
    failed = max(before.failed, now.failed)
    return Arm(exposed=max(before.exposed, now.exposed, failed), failed=failed)


def _raised(log_bets: tuple[float, ...], failed: float, others_failed: float, share: float) -> tuple[float, ...]:
    """What stakes become: ``failed`` of all failures were bet on, each at odds of ``share``."""
    failures = failed + others_failed
    return tuple(
        bet + failed * math.log(lift) - failures * math.log(lift * share + 1 - share)
        for bet, lift in zip(log_bets, LIFTS, strict=True)
    )


def _log_mean(logarithms: tuple[float, ...]) -> float:
    highest = max(logarithms)
    return highest + math.log(sum(math.exp(one - highest) for one in logarithms) / len(logarithms))
