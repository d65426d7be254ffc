"""How the leading server goes through the ramps: whatever is wrong with one, the others are looked at."""

from collections.abc import Mapping

from msgspec import Struct

from admin_server import AdminClient, AdminServer
from fader_server.ramping.leader import Leader
from fader_server.ramping.service import LEASE
from fader_server.ramping.worker import Unasked, Worker
from fader_server.ramps.evidence import Arm
from fader_server.ramps.moves import Move
from fader_server.ramps.progress import Counted
from fader_server.storage.records import Ramp

PLAN = {"steps": [{"percentage": 10}, {"percentage": 100}], "guards": [{"id": "g", "metric": "m"}]}
HARM = {"g": Counted(treatment=Arm(exposed=50, failed=50), control=Arm(exposed=500, failed=1))}


class _UnreadableOfOne(Struct, frozen=True):
    """What was recorded for one flag is nothing that anybody thought of; where it is not, the feature does harm."""

    flag: str

    async def of(self, ramp: Ramp) -> Mapping[str, Counted]:
        if ramp.flag == self.flag:
            raise LookupError(ramp.flag)
        return HARM


class _Losing(Leader):
    """Loses the lease whenever it has looked at one ramp."""

    claims = 0

    async def claim(self) -> bool:
        self.claims += 1
        return self.claims % 3 != 0 and await super().claim()


async def _nobody(ramp: Ramp, move: Move) -> None:
    """Who is told of nothing."""


def test_a_round_that_is_cut_short_goes_on_where_it_was(server: AdminServer, admin: AdminClient) -> None:
    flags = ["one", "two", "three"]
    for flag in flags:
        assert admin.post("/projects/default/flags", {"key": flag}).status == 201
        assert admin.post(f"/projects/default/flags/{flag}/environments/production/ramp", PLAN).status == 201
    seen: list[str] = []

    class Noting:
        async def of(self, ramp: Ramp) -> Mapping[str, Counted]:
            seen.append(ramp.flag)
            return {}

    async def look() -> None:
        services = server.services
        leader = _Losing(services.store, "a slow one", LEASE)
        worker = Worker(services.store, services.ramps, leader, Noting(), Unasked(), _nobody)
        try:
            for _ in flags:
                await worker.round()
        finally:
            await leader.resign()

    server.call(look)
    assert seen == flags
    for flag in flags:
        admin.post(f"/projects/default/flags/{flag}/environments/production/ramp/abort")


def test_a_ramp_without_its_rule_is_held_and_goes_on_being_watched(server: AdminServer, admin: AdminClient) -> None:
    here = "/projects/default/flags/ruleless/environments/production"
    assert admin.post("/projects/default/flags", {"key": "ruleless"}).status == 201
    plan = PLAN | {"steps": [{"percentage": 10, "hold_seconds": 0}, {"percentage": 100}], "guards": []}
    assert admin.post(f"{here}/ramp", plan).status == 201
    assert admin.send("PUT", f"{here}?force=true", {"enabled": True}).status == 200
    assert admin.post(f"{here}/ramp/resume").status == 200

    async def look() -> None:
        services = server.services
        leader = Leader(services.store, "the only one", LEASE)
        worker = Worker(services.store, services.ramps, leader, _UnreadableOfOne(""), Unasked(), _nobody)
        try:
            await worker.round()
        finally:
            await leader.resign()

    server.call(look)
    found = admin.get(f"{here}/ramp").body
    assert (found["status"], found["why"]) == ("held", "the rule that it brings up is not there any more")
    admin.post(f"{here}/ramp/abort")


def test_a_ramp_that_cannot_be_looked_at_keeps_no_other_one_up(server: AdminServer, admin: AdminClient) -> None:
    for flag in ("ill", "harmful"):  # and in this order they are looked at
        assert admin.post("/projects/default/flags", {"key": flag}).status == 201
        assert admin.post(f"/projects/default/flags/{flag}/environments/production/ramp", PLAN).status == 201

    async def look() -> bool:
        services = server.services
        leader = Leader(services.store, "the only one", LEASE)
        worker = Worker(services.store, services.ramps, leader, _UnreadableOfOne("ill"), Unasked(), _nobody)
        try:
            return await worker.round()
        finally:
            await leader.resign()

    assert server.call(look)

    flags = {flag["key"]: flag for flag in admin.all("/projects/default/flags")}
    assert flags["ill"]["environments"]["production"]["enabled"]
    assert not flags["harmful"]["environments"]["production"]["enabled"]
