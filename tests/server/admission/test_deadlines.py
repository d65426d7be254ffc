"""Who is late: the pure part of holding connections to their time."""

from fader_server.deadlines import Deadlines


def test_who_takes_too_long_is_named_once() -> None:
    deadlines = Deadlines[str](patience=10.0)
    deadlines.begin("a", now=0.0)
    deadlines.begin("b", now=4.0)
    assert list(deadlines.late(now=9.9)) == []
    assert list(deadlines.late(now=10.0)) == ["a"]
    assert list(deadlines.late(now=10.0)) == []
    assert list(deadlines.late(now=99.0)) == ["b"]
    assert len(deadlines) == 0


def test_who_is_done_in_time_is_not_late() -> None:
    deadlines = Deadlines[str](patience=1.0)
    deadlines.begin("a", now=0.0)
    deadlines.end("a")
    deadlines.end("never begun")
    assert list(deadlines.late(now=5.0)) == []


def test_beginning_twice_does_not_win_time() -> None:
    deadlines = Deadlines[str](patience=1.0)
    deadlines.begin("a", now=0.0)
    deadlines.begin("a", now=0.9)
    assert list(deadlines.late(now=1.0)) == ["a"]


def test_more_may_begin_and_end_while_the_late_ones_are_dealt_with() -> None:
    deadlines = Deadlines[str](patience=1.0)
    for name in "abc":
        deadlines.begin(name, now=0.0)
    found = []
    for name in deadlines.late(now=2.0):
        found.append(name)
        deadlines.end("b")
        deadlines.begin("d", now=2.0)
    assert found == ["a", "c"]
    assert len(deadlines) == 1
