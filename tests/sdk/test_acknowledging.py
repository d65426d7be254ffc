"""What a process tells the server of its flags, and when: stories with a clock that only the test moves."""

import json
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fader.acknowledging import Acknowledger
from fader.config import Timing
from fader.transport import Answer, Word

TIMING = Timing()
WINDOW = 2_000
"""Milliseconds over which the server of these stories has acknowledgements spread."""


class World:
    """A server that takes what is said, or not; the time, which passes when it is told to; and the acknowledger."""

    def __init__(self, quiet: float = 0.0) -> None:
        self.now = 100.0
        self.said: list[tuple[Word, dict[str, Any], float]] = []
        self.answers: list[int | Exception | Answer] = []
        self.always: int | Exception = 204
        self.within = math.nan
        self.is_complete = True
        self.acknowledger = Acknowledger(
            "web-1:42:abc",
            TIMING,
            self._take,
            quiet,
            lambda: self.is_complete,
            clock=lambda: self.now,
            rng=random.Random(11),
        )

    def _take(self, word: Word, payload: bytes, within: float) -> Answer:
        self.within = within
        self.said.append((word, json.loads(payload), self.now))
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Answer) else Answer(answer, {}, b"")

    def pass_time(self, seconds: float) -> None:
        """Let time pass as the thread does: it sleeps until something is due, and looks again."""
        end = self.now + seconds
        while True:
            left = self.acknowledger.run_if_due(self.now)
            assert left >= 0
            if self.now + left > end:
                self.now = max(self.now, end)
                return
            self.now += max(left, 0.001)

    @property
    def acks(self) -> list[dict[str, Any]]:
        return [body for word, body, _ in self.said if word == "ack"]

    @property
    def moments(self) -> list[float]:
        return [at for word, _, at in self.said if word == "ack"]

    def applies(self, revision: int, within_ms: int = WINDOW, epoch: str = "aaaa") -> None:
        self.acknowledger.applied(f"{epoch}-{revision}", within_ms)

    def refuses(self, revision: int, error: str = "no good") -> None:
        self.acknowledger.refused(f"aaaa-{revision}", error)


@pytest.fixture
def world() -> World:
    """With an open stream, on which nothing has come yet."""
    made = World()
    made.acknowledger.connected("node-1")
    return made


def revisions(world: World) -> list[tuple[int, bool]]:
    return [(ack["revision"], ack["applied"]) for ack in world.acks]


# --- applied


def test_a_revision_is_acknowledged_within_the_window(world: World) -> None:
    world.applies(7)
    world.pass_time(WINDOW / 1000)
    held = world.acks[0]["held_ms"]
    assert world.acks == [
        {
            "instance": "web-1:42:abc",
            "epoch": "aaaa",
            "revision": 7,
            "applied": True,
            "held_ms": held,
            "node": "node-1",
        }
    ]
    assert held == pytest.approx((world.moments[0] - 100.0) * 1000, abs=1)


def test_moments_are_spread_over_the_whole_window() -> None:
    moments = []
    for seed in range(200):
        world = World()
        world.acknowledger._rng.seed(seed)
        world.applies(1)
        world.pass_time(WINDOW / 1000)
        moments.append(world.moments[0] - 100.0)
    assert min(moments) < 0.1
    assert max(moments) > 1.9
    assert 0.8 < sum(moments) / len(moments) < 1.2


@pytest.mark.parametrize("within_ms", [0, -5])
def test_without_a_window_it_is_said_at_once(world: World, within_ms: int) -> None:
    world.applies(7, within_ms)
    assert world.acknowledger.run_if_due(world.now) > 0
    assert world.acks[0]["held_ms"] == 0


def test_a_window_beyond_reason_does_not_put_it_off_for_ever(world: World) -> None:
    world.applies(7, 10**400)
    world.pass_time(TIMING.ack_window)
    assert revisions(world) == [(7, True)]


def test_only_the_newest_revision_is_acknowledged_at_the_moment_of_the_first(world: World) -> None:
    world.applies(7)
    due = world.acknowledger.run_if_due(world.now)
    world.now += due / 2
    world.applies(8)
    world.applies(9)
    world.pass_time(WINDOW / 1000)
    assert revisions(world) == [(9, True)]
    assert world.moments == [pytest.approx(100.0 + due, abs=0.01)]
    assert world.acks[0]["held_ms"] == pytest.approx(due / 2 * 1000, abs=2)  # of revision 9, not of 7


def test_however_fast_revisions_follow_one_acknowledgement_a_window_is_all(world: World) -> None:
    for revision in range(1, 1001):
        world.applies(revision)
        world.pass_time(0.01)
    world.pass_time(WINDOW / 1000)
    assert 4 <= len(world.acks) <= 7
    gaps = [later - earlier for earlier, later in zip(world.moments, world.moments[1:], strict=False)]
    assert min(gaps) >= WINDOW / 1000
    assert world.acks[-1]["revision"] == 1000


def test_a_revision_is_acknowledged_once_a_connection(world: World) -> None:
    """A server that repeats itself hears nothing new; another one, which cannot know, does."""
    world.applies(7)
    world.pass_time(10)
    world.applies(7)
    world.pass_time(10)
    assert revisions(world) == [(7, True)]
    world.acknowledger.connected("node-2")
    world.pass_time(10)
    assert len(world.acks) == 1  # resumed with nothing new: there is nothing to say
    world.applies(7)
    world.pass_time(10)
    assert [ack["node"] for ack in world.acks] == ["node-1", "node-2"]


def test_what_is_owed_when_the_stream_ends_is_said_to_whom_there_is(world: World) -> None:
    world.applies(7, 60_000)
    world.acknowledger.connected("node-2")
    world.pass_time(60)
    assert [(ack["revision"], ack["node"]) for ack in world.acks] == [(7, "node-2")]


def test_another_epoch_begins_anew(world: World) -> None:
    world.applies(7)
    world.pass_time(10)
    world.applies(7, epoch="bbbb")
    world.pass_time(10)
    assert [ack["epoch"] for ack in world.acks] == ["aaaa", "bbbb"]


def test_a_process_that_is_about_to_fork_is_quiet_first() -> None:
    world = World(quiet=2.0)
    world.acknowledger.connected("node-1")
    world.applies(7, 0)
    world.pass_time(1.9)
    assert world.acks == []
    world.pass_time(0.2)
    assert [ack["held_ms"] for ack in world.acks] == [2000]


# --- refused


def test_a_refusal_has_the_reason_and_no_time_of_application(world: World) -> None:
    world.refuses(8, "Expected `bool`, got `str`")
    world.pass_time(0)
    assert world.acks == [
        {
            "instance": "web-1:42:abc",
            "epoch": "aaaa",
            "revision": 8,
            "applied": False,
            "error": "Expected `bool`, got `str`",
            "node": "node-1",
        }
    ]


def test_a_refusal_comes_within_the_last_known_window_and_does_not_wait_for_its_turn(world: World) -> None:
    world.applies(7)
    world.pass_time(WINDOW / 1000)
    # The next acknowledgement's turn is a window after this one; draws for refusals are earlier than that.
    waits = []
    for revision in range(8, 58):
        began = world.now
        world.refuses(revision)
        world.pass_time(WINDOW / 1000)
        waits.append(world.moments[-1] - began)
    assert len(world.acks) == 51
    assert max(waits) <= WINDOW / 1000
    assert min(waits) < 0.5


def test_reasons_are_of_bounded_length(world: World) -> None:
    world.refuses(8, "x" * 1_000_000)
    world.pass_time(0)
    assert 100 <= len(world.acks[0]["error"]) <= 500


def test_what_was_applied_before_is_said_before(world: World) -> None:
    world.applies(7, 0)
    world.refuses(8)
    world.pass_time(0)
    assert revisions(world) == [(7, True), (8, False)]


def test_between_two_words_there_is_time_for_flags(world: World) -> None:
    world.applies(7, 0)
    world.refuses(8)
    assert world.acknowledger.run_if_due(world.now) == 0
    assert revisions(world) == [(7, True)]


def test_who_has_applied_it_after_all_no_longer_says_that_it_was_refused(world: World) -> None:
    world.applies(7, 60_000)
    world.refuses(8)
    world.applies(8)
    world.pass_time(60)
    assert revisions(world) == [(8, True)]


def test_an_older_revision_from_a_server_that_is_behind_does_not_take_a_refusal_back(world: World) -> None:
    world.applies(7, 60_000)
    world.pass_time(60)
    world.refuses(8)
    world.acknowledger.connected("node-2")
    world.applies(7)
    world.pass_time(120)
    assert sorted(revisions(world)[1:]) == [(7, True), (8, False)]


def test_a_refusal_is_said_once_a_connection(world: World) -> None:
    for _ in range(3):
        world.refuses(8)
        world.pass_time(10)
    assert len(world.acks) == 1
    world.acknowledger.connected("node-2")
    world.refuses(8)
    world.pass_time(10)
    assert len(world.acks) == 2


def test_who_polls_says_it_once(world: World) -> None:
    for _ in range(5):
        world.acknowledger.refused_poll("aaaa-8", "no good")
        world.pass_time(10)
    world.acknowledger.refused_poll("aaaa-9", "no good")
    world.pass_time(10)
    assert revisions(world) == [(8, False), (9, False)]


@pytest.mark.parametrize(
    "version", [None, "", "7", "aaaa", "aaaa-", "-7", "aaaa-x", "AAAA-7", "a a-7", "aaaa-7\n", "aaaa-" + "9" * 30]
)
def test_what_does_not_look_like_a_version_is_not_repeated(world: World, version: str | None) -> None:
    world.acknowledger.refused(version, "no good")
    world.acknowledger.refused_poll(version, "no good")
    world.acknowledger.applied(version, 0)
    world.pass_time(10)
    assert world.acks == []


# --- servers that do not take it

FAILURES = [OSError("reset"), TimeoutError("late"), 500, 502, 503, 429, 401, 403, 301]


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failure_the_newest_revision_is_acknowledged_later(world: World, failure: int | Exception) -> None:
    world.answers = [failure]
    world.applies(7, 0)
    world.pass_time(0)
    world.applies(8, 0)
    world.applies(9, 0)
    world.pass_time(10)
    assert revisions(world) == [(7, True), (9, True)]
    assert world.acks[1]["held_ms"] == pytest.approx((world.moments[1] - world.moments[0]) * 1000, abs=5)


def test_while_nothing_gets_through_attempts_are_ever_rarer(world: World) -> None:
    world.always = OSError("away")
    for revision in range(1, 1001):
        world.applies(revision, 0)
        world.pass_time(0.6)
    assert 20 <= len(world.acks) <= 80  # in ten minutes, of which each pause has half a minute at most
    gaps = [later - earlier for earlier, later in zip(world.moments, world.moments[1:], strict=False)]
    assert min(gaps) >= TIMING.backoff_first / 10
    assert max(gaps) <= TIMING.backoff_longest + 1
    assert sum(gaps[:3]) < sum(gaps[-3:])
    world.always = 204
    world.pass_time(60)
    told = len(world.acks)
    assert world.acks[-1]["revision"] == 1000
    world.pass_time(600)
    assert len(world.acks) == told  # said once, and forgotten
    world.applies(1001, 0)
    world.pass_time(0)
    assert len(world.acks) == told + 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait_is_waited_for(world: World, status: int) -> None:
    world.answers = [Answer(status, {"Retry-After": "40"}, b"")]
    world.applies(7, 0)
    world.pass_time(0)
    world.acknowledger.connected("node-2")
    world.refuses(8)
    world.pass_time(39)
    assert len(world.acks) == 1
    world.pass_time(41)
    assert revisions(world)[1:] == [(7, True), (8, False)]


def test_what_is_very_late_is_not_said_to_be_later_than_a_server_believes(world: World) -> None:
    world.always = OSError("away")
    world.applies(7, 0)
    world.pass_time(7200)
    assert max(ack["held_ms"] for ack in world.acks) == 3_600_000


def test_when_the_stream_is_back_earlier_failures_do_not_delay_the_news(world: World) -> None:
    world.always = OSError("away")
    world.applies(7, 0)
    world.pass_time(600)
    world.always = 204
    world.acknowledger.connected("node-2")
    world.applies(8, 0)
    world.pass_time(0)
    assert revisions(world)[-1] == (8, True)


@pytest.mark.parametrize("status", [404, 405])
def test_an_older_server_is_left_alone_until_the_next_stream(world: World, status: int) -> None:
    world.always = status
    for revision in range(7, 20):
        world.applies(revision, 0)
        world.refuses(revision + 1)
        world.pass_time(10)
    assert len(world.acks) == 1
    world.acknowledger.connected("node-2")
    world.always = 204
    world.applies(20, 0)
    world.pass_time(0)
    assert revisions(world)[1:] == [(20, True)]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_the_server_will_never_take_is_not_repeated(world: World, status: int) -> None:
    world.answers = [status]
    world.applies(7, 0)
    world.pass_time(600)
    world.applies(8, 0)
    world.pass_time(600)
    assert revisions(world) == [(7, True), (8, True)]


def test_each_word_has_a_second_at_most(world: World) -> None:
    world.applies(7, 0)
    world.pass_time(0)
    assert world.within == 1.0
    world.acknowledger.finish(1.5)
    assert world.within == 1.0


# --- goodbye

MEETINGS: Mapping[str, tuple[Callable[[World], object], bool]] = {
    "never": (lambda world: None, False),
    "a stream of a server that names its node": (lambda world: world.acknowledger.connected("node-9"), True),
    "a stream of an older server": (lambda world: world.acknowledger.connected(None), False),
    "an older server after a newer one": (
        lambda world: [world.acknowledger.connected(node) for node in ("node-9", None)],
        True,
    ),
    "a server whose node is lost on the way": (lambda world: [world.applies(7, 0), world.pass_time(0)], True),
    "a poll": (lambda world: world.acknowledger.refused_poll("aaaa-7", "no good"), False),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_goodbye_is_said_to_those_who_would_wait(meeting: str) -> None:
    meet, expected = MEETINGS[meeting]
    world = World()
    meet(world)
    world.acknowledger.finish(1.5)
    assert [word for word, _, _ in world.said if word == "goodbye"] == ["goodbye"] * expected


def test_goodbye_names_process_and_node(world: World) -> None:
    world.applies(7, 60_000)
    world.acknowledger.finish(1.5)
    assert [(word, body) for word, body, _ in world.said] == [
        ("goodbye", {"instance": "web-1:42:abc", "node": "node-1"})
    ]


def test_goodbye_keeps_to_the_time_that_is_left_and_needs_some(world: World) -> None:
    world.acknowledger.finish(0.25)
    assert world.within == 0.25
    world.acknowledger.finish(0.0)
    world.acknowledger.finish(-1.0)
    assert len(world.said) == 1


@pytest.mark.parametrize("failure", [*FAILURES, 404, 405, 422])
def test_whatever_becomes_of_the_goodbye_it_is_no_trouble(world: World, failure: int | Exception) -> None:
    world.always = failure
    world.acknowledger.finish(1.5)
    assert len(world.said) == 1


@pytest.mark.parametrize("node", ["", "a b", "a\u00e4", "x" * 129, "a\nb", "node;q"])
def test_a_node_that_no_header_can_carry_is_not_repeated(world: World, node: str) -> None:
    world.acknowledger.connected(node)
    assert world.acknowledger.node == ""


def test_a_revision_whose_lists_have_not_come_is_not_acknowledged_yet(world: World) -> None:
    world.is_complete = False
    world.applies(7, within_ms=0)
    world.refuses(8)
    world.pass_time(30)
    assert [body["revision"] for body in world.acks] == [8], "what is refused is said all the same"
    came = world.now
    world.is_complete = True
    world.pass_time(30)
    [_, applied] = world.acks
    assert (applied["revision"], applied["applied"]) == (7, True)
    assert applied["held_ms"] <= (world.now - came) * 1000, "it counts from the moment at which they had come"
    assert applied["held_ms"] < 100
