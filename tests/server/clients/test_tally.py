"""The numbers of any revision are those that counting client by client gives, whatever has happened before."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fader_server.clients.client import Client, Identity
from fader_server.clients.roster import LOST_SECONDS, Roster
from fader_server.clients.tally import Acknowledged, Tally, added, tally
from fader_server.telemetry import Metrics

NAMES = st.sampled_from(["a", "b", "c", "d"])
REVISIONS = st.integers(0, 12)
NEWEST = 12


class Plain:
    """A client as one would write it down by hand."""

    def __init__(self, held: tuple[str, int] | None, came_from: str) -> None:
        self.held = held
        self.came_from = came_from
        self.opened = 0.0
        self.refused: int | None = None
        self.lost: float | None = None

    def holds(self, epoch: str, revision: int) -> bool:
        return self.held is not None and self.held[0] == epoch and self.held[1] >= revision

    def takes(self, held: tuple[str, int] | None) -> None:
        if held is not None and self.holds(*held):
            return
        self.held = held
        # What has been refused is of the epoch that is served, and nothing of an older one settles it.
        if held is not None and held[0] != "older" and self.refused is not None and self.refused <= held[1]:
            self.refused = None

    def state(self, epoch: str, revision: int) -> str:
        if self.holds(epoch, revision):
            return "applied"
        if self.refused is not None:
            return "refused"
        if self.held is None:
            return "starting"
        return "waiting" if self.lost is None else "lost"


class Comings(RuleBasedStateMachine):
    """All that can happen to the clients of an environment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epoch, self.revision = "epoch-0", 3
        self.roster = Roster(lambda: self.now, Metrics())
        self.roster.serves(self.epoch, self.revision)
        self.plain: dict[str, Plain] = {}
        self.polling: dict[str, tuple[str, int]] = {}
        self.streams: list[tuple[str, Client, Plain]] = []

    @rule(
        name=NAMES, held=st.none() | REVISIONS, is_old=st.booleans(), came_from=st.sampled_from(["", "here", "there"])
    )
    def connects(self, name: str, held: int | None, is_old: bool, came_from: str) -> None:
        epoch = "older" if is_old else self.epoch
        client = self.roster.connected(Identity(name), None if held is None else epoch, held or 0, came_from=came_from)
        holds = None if held is None else (epoch, held)
        plain = self.plain.get(name)
        if plain is None:
            plain = self.plain[name] = Plain(holds, came_from)
        else:
            plain.takes(None if holds is None else ("older", 0) if is_old else holds)
        plain.came_from, plain.opened, plain.lost = came_from, self.now, None
        self.polling.pop(name, None)
        self.streams.append((name, client, plain))

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def disconnects(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.streams))
        self.streams.remove(stream)
        name, client, plain = stream
        self.roster.disconnected(client)
        if self.plain.get(name) is plain and all(other is not plain for _, _, other in self.streams):
            plain.lost = self.now

    @rule(name=NAMES, revision=REVISIONS, is_old=st.booleans(), refuses=st.booleans())
    def acknowledges(self, name: str, revision: int, is_old: bool, refuses: bool) -> None:
        said = Acknowledged(
            instance=name,
            epoch="older" if is_old else self.epoch,
            revision=revision,
            error="no" if refuses else None,
        )
        assert self.roster.acknowledged(said) is (name in self.plain or name in self.polling)
        plain = self.plain.get(name)
        if plain is None or is_old:
            return
        if not refuses:
            plain.takes((self.epoch, revision))
        elif not plain.holds(self.epoch, revision):
            plain.refused = revision

    @rule(name=NAMES)
    def says_goodbye(self, name: str) -> None:
        known = self.plain.pop(name, None) is not None or self.polling.pop(name, None) is not None
        assert self.roster.said_goodbye(name) is known

    @rule(name=NAMES, came_from=st.sampled_from(["", "here"]))
    def moves(self, name: str, came_from: str) -> None:
        self.roster.moved({name: came_from}, "there")
        self.polling.pop(name, None)
        plain = self.plain.get(name)
        if plain is None:
            return
        is_back = plain.came_from == "there" and self.now - plain.opened < 5
        if plain.lost is not None or (came_from and not is_back):
            del self.plain[name]

    @rule(name=NAMES)
    def polls(self, name: str) -> None:
        plain = self.plain.get(name)
        is_connected = plain is not None and plain.lost is None
        is_new = self.roster.polled(Identity(name), self.epoch, self.revision)
        assert is_new is (not is_connected and name not in self.polling)
        if not is_connected:
            self.plain.pop(name, None)
            self.polling[name] = self.epoch, self.revision

    @rule()
    def serves(self) -> None:
        self.revision = min(self.revision + 1, NEWEST)
        self.roster.serves(self.epoch, self.revision, self.now)

    @rule()
    def begins_anew(self) -> None:
        number = int(self.epoch.partition("-")[2]) + 1
        self.epoch, self.revision = f"epoch-{number}", 1
        self.roster.serves(self.epoch, self.revision)
        for plain in self.plain.values():
            plain.refused = None

    @rule(seconds=st.sampled_from([1.0, LOST_SECONDS / 2, LOST_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        # Who polls is not to be given up here: that has a test of its own.
        for name, (epoch, revision) in self.polling.items():
            self.roster.polled(Identity(name), epoch, revision)
        self.roster.tend()
        for name, plain in list(self.plain.items()):
            if plain.lost is not None and self.now - plain.lost >= LOST_SECONDS:
                del self.plain[name]

    @invariant()
    def every_revision_is_counted_right(self) -> None:
        summary = self.roster.summary()
        for revision in range(NEWEST + 2):
            told = tally(summary, self.epoch, revision)
            plain = Counter(client.state(self.epoch, revision) for client in self.plain.values())
            assert told.applied == plain["applied"]
            assert told.waiting == plain["waiting"]
            assert told.refused == plain["refused"]
            assert told.lost == plain["lost"]
            assert told.starting == plain["starting"]
            assert told.polling == len(self.polling)
            held = [held for epoch, held in self.polling.values() if epoch == self.epoch]
            assert told.polling_applied == sum(one >= revision for one in held)
            behind = plain["waiting"] + plain["refused"] + plain["lost"]
            assert told.is_complete is (not behind and self.revision >= revision)
            if revision == self.revision:
                assert len(told.missing) == behind, "each is known by name"

    @invariant()
    def what_is_counted_apart_is_in_step(self) -> None:
        clients = self.plain.values()
        assert self.roster.losses == sum(client.lost is not None for client in clients)
        assert self.roster.streams == sum(client.lost is None for client in clients)
        assert self.roster.refusals == sum(client.refused is not None for client in clients)
        assert sum(self.roster.summary().at.values()) == len(clients)
        assert {client.identity.instance for client in self.roster.clients()} == {*self.plain, *self.polling}


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_nodes_add_up_and_one_that_lags_is_enough_to_wait_for() -> None:
    total = added([Tally(applied=2, polling=1), Tally(applied=1, waiting=1, starting=1), Tally(is_served=False)])
    assert total == Tally(applied=3, waiting=1, polling=1, starting=1, is_served=False)
    assert not added([Tally(applied=1), Tally(is_served=False)]).is_complete
    assert added([Tally(applied=1), Tally(applied=1)]).is_complete
