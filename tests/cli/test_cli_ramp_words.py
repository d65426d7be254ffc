"""Times, evidence and its picture, as people write and read them."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from fader_cli.evidence_pictures import WIDTH, evidence_line, evidence_picture
from fader_cli.ramps import Look, odds, promise
from fader_cli.times import clock, parse_moment, parse_time, spelled

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("10 min", 600), ("1h30m", 5400), ("2d", 172_800), ("800ms", 0.8), ("0", 0)],
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "1h later", "-1s", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 30s"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.02, "20 ms"), (0.5, "0.5 s"), (59, "59 s"), (5400, "1 h 30 min"), (86_405, "1 d"), (3599.7, "1 h")],
)
def test_times_are_said_in_two_units(seconds: float, said: str) -> None:
    assert spelled(seconds) == said


def test_moments_are_read_from_now_or_by_the_clock() -> None:
    assert parse_moment("6h", NOW) == NOW + timedelta(hours=6)
    assert parse_moment("2030-01-31T18:00+02:00", NOW) == datetime(2030, 1, 31, 16, 0, tzinfo=UTC)
    assert parse_moment("2030-01-31T18:00", NOW).tzinfo is not None
    with pytest.raises(ValueError, match="write it like 6h"):
        parse_moment("tomorrow", NOW)


def test_another_day_is_named() -> None:
    assert len(clock(NOW, NOW)) == len("12:00:00")
    assert len(clock(NOW + timedelta(days=2), NOW)) == len("2026-03-03 12:00:00")


@pytest.mark.parametrize(("e_value", "said"), [(1, "1:1"), (0.24, "0.2:1"), (39.9, "40:1"), (3e6, "over 1,000,000:1")])
def test_evidence_is_said_as_odds(e_value: float, said: str) -> None:
    assert odds(e_value) == said


@pytest.mark.parametrize(("alpha", "ramps"), [(0.05, "20"), (0.03, "33"), (0.001, "1,000")])
def test_what_is_promised_is_true(alpha: float, ramps: str) -> None:
    assert promise(alpha) == f"at most 1 healthy ramp in {ramps} is turned back"


def looks(*values: float, step: int = 1, begin: int = 0) -> list[Look]:
    return [Look(NOW + timedelta(seconds=begin + at), step, value) for at, value in enumerate(values)]


def drawn(found: list[Look], threshold: float = 40.0) -> list[str]:
    return [line.plain for line in evidence_picture(found, threshold)]


def dots(line: str) -> list[int]:
    """The columns in which there is a part of the curve."""
    return [column - 14 for column, character in enumerate(line) if "\u2801" <= character <= "\u28ff"]


def test_there_is_nothing_to_draw_at_first() -> None:
    assert drawn([]) == drawn(looks(0.0)) == []


def test_evidence_rises_to_its_threshold() -> None:
    lines = drawn(looks(*(math.log(40) * part / 50 for part in range(51))))
    assert all(len(line) <= 80 for line in lines)
    limit = next(line for line in lines if " 40:1 ┤" in line)
    even = next(line for line in lines if " 1:1 ┤" in line)
    assert lines.index(limit) < lines.index(even)
    assert dots(even)[0] == 0
    assert dots(limit)[-1] == WIDTH - 1
    curve = [dots(line) for line in lines[: lines.index(even) + 1]]
    assert {column for row in curve for column in row} == set(range(WIDTH)), "there are no gaps"


def test_it_begins_anew_in_each_step() -> None:
    lines = drawn([*looks(0.0, 1.0, 2.0), *looks(0.0, -1.0, step=2, begin=3)])
    assert "step 1" in lines[-2]
    column = lines[-2].index("step 2")
    assert lines[-3][column] == "┴"
    assert any(line[column : column + 1] == "┊" for line in lines), "and the curve does not come down to it"


def test_much_more_than_enough_leaves_room_for_the_rest() -> None:
    lines = drawn(looks(0.0, 1.0, 300.0))
    assert any(" 40:1 ┤" in line for line in lines[1:])
    assert len(lines) == 8 + 3


def test_where_there_is_little_room_a_line_will_do() -> None:
    line = evidence_line(looks(*(math.log(40) * part / 50 for part in range(51))), 40.0).plain
    assert len(line) == 40
    assert sorted(line) == list(line), "it rises"
    assert (line[0], line[-2], line[-1]) == ("▁", "▇", "█")
    assert evidence_line(looks(0.0), 40.0).plain == ""
