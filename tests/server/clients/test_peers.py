"""What other nodes said, and what that is worth when they have fallen silent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fader_server.clients.client import NOTHING, OTHER
from fader_server.clients.notes import NodeClients, Place, Placed
from fader_server.clients.peers import Peers, left_behind
from fader_server.clients.tally import Shown, Summary, Tally, added, tally

PLACE = Place("default", "production")
MOST_NAMED = 20


class Clock:
    """A time that stands still until somebody sets it forward."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def one(instance: str, revision: int) -> Shown:
    return Shown(
        instance=instance, app="", host="", sdk="", sdk_version="", transport="stream", state="connected",
        revision=revision, since=0.0, heard=0.0,
    )  # fmt: skip


def summary_of(held: dict[str, int], revision: int) -> Summary:
    at: dict[int, int] = {}
    for has in held.values():
        at[has] = at.get(has, 0) + 1
    behind = [one(name, has) for name, has in held.items() if has < revision and has != NOTHING]
    return Summary(epoch="e", revision=revision, at=at, behind=tuple(behind[:MOST_NAMED]))


def told(node: str, held: dict[str, int], revision: int) -> NodeClients:
    return NodeClients(node, (Placed(PLACE, summary_of(held, revision)),))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peers(clock: Clock) -> Peers:
    return Peers(clock)


def test_live_nodes_are_taken_at_their_word(peers: Peers) -> None:
    peers.hear(told("a", {"x": 6, "y": 5}, 6))
    peers.hear(told("b", {"z": 6}, 6))
    heard = peers.acknowledgements(PLACE, "e", 6)
    total = added(heard.tallies)
    assert (heard.nodes, heard.notes) == (2, [])
    assert (total.applied, total.waiting) == (2, 1)
    assert [client.instance for client in total.missing] == ["y"]
    assert peers.acknowledgements(Place("default", "staging"), "e", 6).tallies == []


def test_clients_of_a_silent_node_are_missed_until_they_are_heard_elsewhere(peers: Peers, clock: Clock) -> None:
    peers.hear(told("a", {"x": 6, "y": 5, "z": 5}, 6))
    clock.now += 4
    heard = peers.acknowledgements(PLACE, "e", 6)
    total = added(heard.tallies)
    assert heard.nodes == 0
    assert (total.applied, total.lost) == (1, 2)
    assert [(client.instance, client.state) for client in total.missing] == [("y", "lost"), ("z", "lost")]
    assert heard.notes == ["2 clients of node a, silent for 4 s, not heard elsewhere"]
    peers.note_moved(PLACE, {"y": "a"})
    assert [client.instance for client in added(peers.acknowledgements(PLACE, "e", 6).tallies).missing] == ["z"]
    peers.note_moved(PLACE, {"z": "a"})
    heard = peers.acknowledgements(PLACE, "e", 6)
    assert (added(heard.tallies).is_complete, heard.notes) == (True, [])


def test_a_node_that_speaks_again_is_believed_again(peers: Peers, clock: Clock) -> None:
    peers.hear(told("a", {"x": 5}, 6))
    clock.now += 4
    peers.note_moved(PLACE, {"x": "a"})
    peers.hear(told("a", {"x": 5}, 6))
    assert peers.live == 1
    assert added(peers.acknowledgements(PLACE, "e", 6).tallies).waiting == 1


def test_a_node_that_is_silent_for_long_is_forgotten(peers: Peers, clock: Clock) -> None:
    peers.hear(told("a", {"x": 5}, 6))
    clock.now += 90
    peers.forget_old()
    assert added(peers.acknowledgements(PLACE, "e", 6).tallies).lost == 1
    clock.now += 1
    peers.forget_old()
    assert peers.acknowledgements(PLACE, "e", 6).tallies == []


def test_those_who_are_only_counted_are_missed_as_long_as_they_may_be() -> None:
    held = {f"behind-{number}": 5 for number in range(30)} | {f"up-{number}": 6 for number in range(10)}
    last = tally(summary_of(held, 6), "e", 6)
    assert left_behind(last, set()).lost == 30
    named = {client.instance for client in last.missing}
    assert left_behind(last, named).lost == 10, "these are of the others, for certain"
    up_to_date = {f"up-{number}" for number in range(10)}
    assert left_behind(last, up_to_date).lost == 30
    assert left_behind(last, set(held)).lost == 0


def test_those_who_had_nothing_yet_are_not_taken_for_the_missing() -> None:
    held = {f"behind-{number}": 5 for number in range(30)} | {f"new-{number}": NOTHING for number in range(30)}
    last = tally(summary_of(held, 6), "e", 6)
    assert left_behind(last, {f"new-{number}" for number in range(30)}).lost == 30


@given(
    st.lists(st.tuples(st.sampled_from([NOTHING, OTHER, 4, 5, 6, 7]), st.booleans()), max_size=80),
    st.integers(4, 7),
)
def test_nobody_is_taken_for_found_who_is_still_missing(clients: list[tuple[int, bool]], revision: int) -> None:
    """Each client is given with what it holds, and with whether it has come to another node."""
    held = {f"c-{number}": holds for number, (holds, _) in enumerate(clients)}
    moved = {f"c-{number}" for number, (_, has_moved) in enumerate(clients) if has_moved}
    left: Tally = left_behind(tally(summary_of(held, 7), "e", revision), moved)
    missing = {name for name, has in held.items() if has < revision and has != NOTHING} - moved
    assert left.lost >= len(missing)
    assert {client.instance for client in left.missing} <= missing
    if len(moved) == len(held):
        assert left.lost == 0
