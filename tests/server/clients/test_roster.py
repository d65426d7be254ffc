"""One node's clients: who is there, who has come how far, who is missed."""

import pytest

from fader_server.clients.client import Client, Identity
from fader_server.clients.propagation import Propagation
from fader_server.clients.roster import LOST_SECONDS, Roster
from fader_server.clients.tally import Acknowledged, Tally, shown, tally
from fader_server.telemetry import Metrics


class Clock:
    """A time that stands still until somebody sets it forward."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """An environment that is served at revision 5, and whoever comes to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.roster = Roster(self.clock, Metrics())
        self.roster.serves("e", 5)

    def opens(self, name: str, held: int | None = None, epoch: str = "e", came_from: str = "") -> Client:
        return self.roster.connected(Identity(name), None if held is None else epoch, held or 0, came_from=came_from)

    def commits(self, revision: int) -> None:
        self.roster.serves("e", revision, self.clock.now)

    def says(self, name: str, revision: int, error: str | None = None, held_ms: float = 0.0) -> bool:
        return self.roster.acknowledged(
            Acknowledged(instance=name, epoch="e", revision=revision, error=error, held_ms=held_ms)
        )

    def tally(self, revision: int) -> Tally:
        return tally(self.roster.summary(), "e", revision)

    def propagation(self, revision: int) -> Propagation | None:
        return next((one.propagation for one in self.roster.timed() if one.revision == revision), None)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def counts(told: Tally) -> dict[str, int]:
    """Those that are not 0."""
    names = ("applied", "waiting", "refused", "lost", "starting", "polling", "polling_applied")
    return {name: count for name in names if (count := getattr(told, name))}


def test_a_new_process_is_starting_until_it_has_something(scene: Scene) -> None:
    scene.opens("new")
    assert counts(scene.tally(5)) == {"starting": 1}
    assert scene.tally(5).is_complete
    scene.says("new", 5)
    assert counts(scene.tally(5)) == {"applied": 1}


def test_a_revision_is_applied_with_any_later_one(scene: Scene) -> None:
    scene.opens("one", held=5)
    for revision in (6, 7, 8):
        scene.commits(revision)
    assert counts(scene.tally(6)) == {"waiting": 1}
    scene.says("one", 7)
    assert [counts(scene.tally(revision)) for revision in (6, 7, 8)] == [{"applied": 1}, {"applied": 1}, {"waiting": 1}]
    assert scene.propagation(6) == scene.propagation(7)


def test_who_refuses_is_named_first_and_counts_again_with_what_it_takes_later(scene: Scene) -> None:
    for name in ("waits", "refuses"):
        scene.opens(name, held=5)
    scene.commits(6)
    scene.says("refuses", 6, error="no such operator")
    told = scene.tally(6)
    assert counts(told) == {"waiting": 1, "refused": 1}
    assert [(one.instance, one.error) for one in told.missing] == [("refuses", "no such operator"), ("waits", "")]
    assert counts(scene.tally(5)) == {"applied": 2}
    scene.commits(7)
    scene.says("refuses", 7)
    assert counts(scene.tally(7)) == {"applied": 1, "waiting": 1}
    assert scene.roster.refusals == 0


def test_a_refusal_that_comes_late_is_of_no_interest(scene: Scene) -> None:
    client = scene.opens("one", held=5)
    scene.commits(6)
    scene.commits(7)
    scene.says("one", 7)
    scene.says("one", 6, error="no such operator")
    assert shown(client).state == "connected"
    assert scene.roster.refusals == 0


def test_a_stream_that_ends_is_missed_for_a_while_and_then_given_up(scene: Scene) -> None:
    scene.roster.disconnected(scene.opens("gone", held=5))
    scene.commits(6)
    assert counts(scene.tally(6)) == {"lost": 1}
    scene.clock.now += LOST_SECONDS - 0.1
    scene.roster.tend()
    assert counts(scene.tally(6)) == {"lost": 1}
    scene.clock.now += 0.1
    scene.roster.tend()
    assert counts(scene.tally(6)) == {}


def test_who_says_goodbye_is_not_missed_whichever_comes_first(scene: Scene) -> None:
    before, after = scene.opens("before", held=5), scene.opens("after", held=5)
    assert scene.roster.said_goodbye("before")
    scene.roster.disconnected(before)
    scene.roster.disconnected(after)
    assert scene.roster.said_goodbye("after")
    assert not scene.roster.said_goodbye("after")
    assert (scene.roster.streams, scene.roster.losses) == (0, 0)


def test_two_streams_of_one_process_are_one_client(scene: Scene) -> None:
    broken = scene.opens("one", held=5)
    scene.commits(6)
    scene.opens("one", held=6, came_from="here")
    assert counts(scene.tally(6)) == {"applied": 1}
    scene.roster.disconnected(broken)
    assert (scene.roster.streams, scene.roster.losses) == (1, 0)
    scene.roster.disconnected(broken)
    assert (scene.roster.streams, scene.roster.losses) == (0, 1)


def test_who_was_not_there_yet_says_nothing_about_how_long_it_took(scene: Scene) -> None:
    scene.commits(6)
    scene.clock.now += 60
    scene.opens("new")
    scene.says("new", 6)
    assert scene.propagation(6) == Propagation()
    scene.commits(7)
    scene.clock.now += 2
    scene.says("new", 7, held_ms=500)
    timed = scene.propagation(7)
    assert timed is not None
    assert (timed.clients, timed.max_ms) == (1, 1500)


def test_who_comes_back_says_how_long_it_took(scene: Scene) -> None:
    scene.commits(6)
    scene.clock.now += 60
    scene.opens("back", held=5, came_from="another node")
    scene.says("back", 6)
    timed = scene.propagation(6)
    assert timed is not None
    assert timed.max_ms == 60_000


def test_a_number_that_makes_no_sense_costs_nothing(scene: Scene) -> None:
    scene.opens("odd", held=5)
    scene.commits(6)
    scene.says("odd", 2**63 - 1)
    timed = scene.propagation(6)
    assert timed is not None
    assert timed.clients == 1


def test_with_a_new_epoch_everybody_has_yet_to_hear_of_it(scene: Scene) -> None:
    scene.opens("refuses", held=5)
    scene.opens("new")
    scene.roster.disconnected(scene.opens("lost", held=5))
    scene.commits(6)
    scene.says("refuses", 6, error="no such operator")
    other = tally(scene.roster.summary(), "f", 1)
    assert counts(other) == {"waiting": 1, "lost": 1, "starting": 1}
    assert not other.is_complete
    scene.roster.serves("f", 1)
    assert counts(tally(scene.roster.summary(), "f", 1)) == {"waiting": 1, "lost": 1, "starting": 1}
    assert scene.says("refuses", 6), "it is a client of ours"
    assert counts(tally(scene.roster.summary(), "f", 1)) == {"waiting": 1, "lost": 1, "starting": 1}


def test_a_broken_stream_ends_with_the_word_that_its_client_is_elsewhere(scene: Scene) -> None:
    ghost = scene.opens("one", held=5)
    scene.roster.moved({"one": "here"}, "there")
    assert counts(scene.tally(5)) == {}
    scene.roster.disconnected(ghost)
    assert (scene.roster.streams, scene.roster.losses) == (0, 0)


def test_word_that_a_client_is_elsewhere_may_come_when_it_is_back(scene: Scene) -> None:
    scene.opens("one", held=5, came_from="there")
    scene.roster.moved({"one": "here"}, "there")
    assert counts(scene.tally(5)) == {"applied": 1}
    scene.clock.now += 5
    scene.roster.moved({"one": "here"}, "there")
    assert counts(scene.tally(5)) == {}


def test_a_process_that_does_not_say_where_it_was_is_only_missed_no_more(scene: Scene) -> None:
    scene.opens("connected", held=5)
    scene.roster.disconnected(scene.opens("lost", held=5))
    scene.roster.polled(Identity("polls"), "e", 5)
    before = scene.roster.version
    scene.roster.moved({"connected": "", "lost": "", "polls": ""}, "there")
    assert counts(scene.tally(5)) == {"applied": 1}
    assert scene.roster.version == before + 2


def test_who_polls_is_counted_apart(scene: Scene) -> None:
    assert scene.roster.polled(Identity("polls"), "e", 4)
    assert counts(scene.tally(5)) == {"polling": 1}
    assert scene.tally(5).is_complete
    assert not scene.roster.polled(Identity("polls"), "e", 5)
    assert counts(scene.tally(5)) == {"polling": 1, "polling_applied": 1}
    scene.clock.now += 180
    scene.roster.tend()
    assert counts(scene.tally(5)) == {}


def test_who_lost_its_stream_and_polls_is_not_missed(scene: Scene) -> None:
    stream = scene.opens("one", held=4)
    assert not scene.roster.polled(Identity("one"), "e", 5), "it has a stream"
    scene.roster.disconnected(stream)
    scene.roster.polled(Identity("one"), "e", 5)
    assert counts(scene.tally(5)) == {"polling": 1, "polling_applied": 1}
    scene.opens("one", held=5, came_from="here")
    assert counts(scene.tally(5)) == {"applied": 1}


def test_those_ahead_of_this_node_are_not_named_as_behind(scene: Scene) -> None:
    for number in range(30):
        scene.opens(f"ahead-{number}", held=6)
    scene.opens("behind", held=4)
    assert [one.instance for one in scene.tally(5).missing] == ["behind"]


def test_of_many_some_are_named(scene: Scene) -> None:
    for number in range(100):
        scene.opens(f"behind-{number}", held=4)
    told = scene.tally(5)
    assert (told.waiting, len(told.missing)) == (100, 20)


def test_a_crowd_is_given_time_to_acknowledge(scene: Scene) -> None:
    for number in range(50):
        scene.opens(f"one-{number}")
    assert scene.roster.ack_within_ms == 0
    for number in range(50, 10_000):
        scene.opens(f"one-{number}")
    assert scene.roster.ack_within_ms == 2_000
    # While changes follow each other, they come first.
    scene.commits(6)
    assert scene.roster.ack_within_ms == 5_000
    scene.clock.now += 1.0
    assert scene.roster.ack_within_ms == 2_000
