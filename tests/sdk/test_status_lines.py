"""What an operator reads in the log: one line for each change, and none for each attempt."""

import pytest

from fader.status import LOST, Journal


@pytest.fixture
def journal(caplog: pytest.LogCaptureFixture) -> Journal:
    caplog.set_level("INFO", "fader")
    return Journal("https://flags.example.org")


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records]


def test_an_outage_is_two_lines(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.following("stream", 1)
    for _ in range(100):
        journal.trouble(LOST, "connection refused")
    journal.following("stream", 2)
    assert levels(caplog) == ["INFO", "WARNING", "INFO"]
    assert journal.last_error == "connection refused"


def test_a_connection_that_breaks_and_comes_back_at_once_is_no_line(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for revision in range(100):
        journal.following("stream", revision)
        journal.trouble(LOST, "reset by peer")
    assert levels(caplog) == ["INFO"]


def test_a_goodbye_is_no_line(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.following("stream", 1)
    journal.ended()
    assert journal.transport is None
    journal.following("stream", 1)
    assert levels(caplog) == ["INFO"]


def test_another_kind_of_trouble_is_another_line(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    journal.following("stream", 1)
    for kind in ("status 401", "status 401", "bad data", LOST, LOST):
        journal.trouble(kind, kind)
    journal.following("poll", 1)
    assert levels(caplog) == ["INFO", "WARNING", "WARNING", "WARNING", "INFO"]


def test_what_is_beside_the_flags_is_said_once_until_it_works_again(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        journal.note("cache", "disk full")
    journal.mended("cache")
    journal.note("cache", "disk full")
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_complaints_about_the_application_have_an_end(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        journal.complain(f"cause {number}", "in vain")
        journal.complain(f"cause {number}", "in vain")
    assert len(caplog.records) == 51
    assert "more" in caplog.records[-1].getMessage()
