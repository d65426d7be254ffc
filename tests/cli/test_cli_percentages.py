"""Percentages as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader_cli.percentages import format_percentage, parse_percentage


@pytest.mark.parametrize(
    ("text", "percentage"),
    [
        ("10%", 10.0),
        ("10", 10.0),
        ("0.5%", 0.5),
        ("0.001%", 0.001),
        ("12,5 %", 12.5),
        (" 100% ", 100.0),
        ("0", 0.0),
        ("33.3330", 33.333),
    ],
)
def test_is_read(text: str, percentage: float) -> None:
    assert parse_percentage(text) == percentage


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("abc", "write it like 10% or 0.5%"),
        ("", "write it like"),
        ("-1", "write it like"),
        ("1e1", "write it like"),
        ("nan", "write it like"),
        ("10%%", "write it like"),
        ("101", "100% is the most"),
        ("100.001%", "100% is the most"),
        ("0.0001", "in steps of 0.001"),
    ],
)
def test_is_refused_with_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        parse_percentage(text)


@given(st.integers(0, 100_000))
def test_what_is_written_is_read_back(thousandths: int) -> None:
    assert round(parse_percentage(format_percentage(thousandths / 1000)) * 1000) == thousandths
