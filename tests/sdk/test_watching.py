"""Listeners hear of a state that has lasted, and of each once."""

import pytest

from fader.status import State, Status
from fader.watching import StatusWatch

GRACE = 10.0


class Following:
    """A client whose state the test decides, and a listener's record."""

    def __init__(self) -> None:
        self.state = State.READY
        self.heard: list[State] = []
        self.now = 0.0
        self.watch = StatusWatch(lambda: Status(self.state), GRACE, lambda: self.now)

    def listen(self) -> None:
        self.watch.listen(lambda status: self.heard.append(status.state))
        self.watch.run_if_due(self.now)

    def becomes(self, state: State, after: float = 0.0) -> float:
        self.now += after
        self.state = state
        return self.watch.run_if_due(self.now)


@pytest.fixture
def following() -> Following:
    return Following()


def test_a_listener_hears_first_how_things_are(following: Following) -> None:
    following.listen()
    assert following.heard == [State.READY]


def test_a_lost_connection_is_told_when_it_has_been_lost_for_a_while(following: Following) -> None:
    following.listen()
    assert following.becomes(State.STALE) == GRACE
    assert following.becomes(State.STALE, after=GRACE - 1) == 1
    assert following.heard == [State.READY]
    following.becomes(State.STALE, after=1)
    following.becomes(State.STALE, after=GRACE)
    assert following.heard == [State.READY, State.STALE]


def test_a_connection_that_is_back_in_time_is_no_news(following: Following) -> None:
    following.listen()
    for _ in range(3):
        following.becomes(State.STALE)
        following.becomes(State.READY, after=GRACE - 1)
    assert following.heard == [State.READY]


def test_that_the_flags_are_the_present_ones_again_is_told_at_once(following: Following) -> None:
    following.listen()
    following.becomes(State.STALE)
    following.becomes(State.STALE, after=GRACE)
    following.becomes(State.READY)
    assert following.heard == [State.READY, State.STALE, State.READY]


def test_who_listens_while_the_connection_is_lost_hears_of_it_after_a_while_too(following: Following) -> None:
    following.becomes(State.OFFLINE, after=100)
    following.listen()
    assert following.heard == []
    following.becomes(State.OFFLINE, after=GRACE)
    assert following.heard == [State.OFFLINE]


def test_who_ends_listening_hears_no_more(following: Following) -> None:
    unsubscribe = following.watch.listen(lambda status: following.heard.append(status.state))
    unsubscribe()
    unsubscribe()
    following.becomes(State.READY)
    assert following.heard == []


def test_a_listener_that_fails_costs_the_others_nothing(following: Following, caplog: pytest.LogCaptureFixture) -> None:
    following.watch.listen(lambda _: 1 / 0)
    following.listen()
    following.becomes(State.STALE)
    following.becomes(State.STALE, after=GRACE)
    assert following.heard == [State.READY, State.STALE]
    assert len(caplog.records) == 1
