"""How long clients wait: never a tight loop, never too long, never all together."""

import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from fader.backoff import Backoff, half_jitter, retry_after, spread

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


def test_pauses_grow_to_the_longest_with_full_jitter() -> None:
    for seed in range(200):
        pauses = Backoff(1.0, 30.0, random.Random(seed))
        for ceiling in (1, 2, 4, 8, 16, 30, 30, 30):
            assert ceiling / 10 <= pauses.next() <= ceiling


def test_pauses_stay_finite_however_long_the_server_is_away() -> None:
    pauses = Backoff(1.0, 30.0)
    assert max(pauses.next() for _ in range(5000)) <= 30


def test_health_makes_the_next_pause_short_again() -> None:
    pauses = Backoff(1.0, 30.0)
    for _ in range(10):
        pauses.next()
    pauses.reset()
    assert pauses.next() <= 1


def test_clients_that_fail_together_come_back_apart() -> None:
    pauses = sorted(Backoff(1.0, 30.0, random.Random(seed)).next() for seed in range(1000))
    assert pauses[100] < 0.3
    assert pauses[900] > 0.8


def test_spread_waits_at_least_what_was_asked() -> None:
    drawn = [spread(2.0, random.Random(seed)) for seed in range(500)]
    assert min(drawn) >= 2.0
    assert max(drawn) <= 4.0
    assert max(drawn) - min(drawn) > 1.5


def test_half_jitter_is_between_half_and_all() -> None:
    drawn = [half_jitter(300, random.Random(seed)) for seed in range(500)]
    assert min(drawn) >= 150
    assert max(drawn) <= 300


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("86400", 600.0),
        (in_seconds(90), 90.0),
        (in_seconds(-90), 0.0),
        (in_seconds(86400), 600.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("١٢", None),
        ("9" * 400, None),
        ("Wed, 99 Foo 2099", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW, longest=600.0) == seconds
