"""Whom flags are evaluated for, and by what rules tell them apart."""

import random
from typing import Any

USERS = tuple(f"user-{number}" for number in range(40))
COUNTRIES = ("DE", "FR", "PL", "US")
PLANS = ("free", "team", "company")


def draw_context(rng: random.Random) -> dict[str, Any]:
    """Somebody. There is always a targeting key, so nothing about their flags is left to chance."""
    return {
        "targeting_key": rng.choice(USERS),
        "country": rng.choice(COUNTRIES),
        "plan": rng.choice(PLANS),
        "seats": rng.randrange(100),
    }
