"""Have as many users come with the feature as should have? If not, something else than the draw decides who is counted,
and comparing the two groups means nothing (Fabijan et al., "Diagnosing sample ratio mismatch in online controlled
experiments", KDD 2019).

The number of users with the feature among all is binomial if all is well. What is bet against that is a beta
distribution of shares around the planned one; the beta-binomial over the binomial likelihood is a martingale, so the
test may be looked at as often as one likes (Robbins, "Statistical methods related to the law of the iterated
logarithm", 1970).
"""

import math
from typing import Final

ALPHA: Final = 0.001
"""How likely it is to be suspected wrongly, ever."""

_CONCENTRATION: Final = 200.0
"""How close to the planned share the shares are that are bet on: as if so many users had been seen."""

_SKETCH_VARIANCE: Final = 2 * 1.04**2 / 4096
"""Of the ratio of two counts that are estimates, each of a HyperLogLog with 4,096 registers, relative to its square."""


def log_e(exposed: int, others: int, share: float) -> float:
    """The logarithm of the evidence that users are not shared out as planned.

    Args:
        exposed: Users seen with the feature.
        others: Users seen without.
        share: Who should have it, between 0 and 1.

    Returns:
        0 for no evidence. Wherever there are only users of one kind by plan, there is nothing to compare.
    """
    users = exposed + others
    if not users or not 0 < share < 1:
        return 0.0
    # Large counts are estimates. What the estimates scatter more than the draw does is taken into account as if fewer
    # users had been seen.
    believed = 1 / (1 + users * share * (1 - share) * _SKETCH_VARIANCE)
    with_it, without = exposed * believed, others * believed
    prior, other_prior = _CONCENTRATION * share, _CONCENTRATION * (1 - share)
    bet = _log_beta(prior + with_it, other_prior + without) - _log_beta(prior, other_prior)
    return bet - with_it * math.log(share) - without * math.log1p(-share)


def is_mismatch(exposed: int, others: int, share: float, alpha: float = ALPHA) -> bool:
    """Whether users are certainly not shared out as planned."""
    return log_e(exposed, others, share) >= -math.log(alpha)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)
