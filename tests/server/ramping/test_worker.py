"""Whatever is wrong with one ramp, the others are looked at."""

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


def test_a_ramp_that_cannot_be_looked_at_keeps_no_other_one_up(server: AdminServer, admin: AdminClient) -> None:
    for flag in ("ill", "harmful"):  # and in this order they are looked at
        assert admin.post("/projects/default/flags", {"key": flag}).status == 201
        assert admin.post(f"/projects/default/flags/{flag}/environments/production/ramp", PLAN).status == 201

    async def look() -> bool:
        services, told = server.services, list[tuple[Ramp, Move]]()

        async def tell(ramp: Ramp, move: Move) -> None:
            told.append((ramp, move))

        leader = Leader(services.store, "the only one", LEASE)
        worker = Worker(services.store, services.ramps, leader, _UnreadableOfOne("ill"), Unasked(), tell)
        try:
            return await worker.round()
        finally:
            await leader.resign()

    assert server.call(look)

    flags = {flag["key"]: flag for flag in admin.all("/projects/default/flags")}
    assert flags["ill"]["environments"]["production"]["enabled"]
    assert not flags["harmful"]["environments"]["production"]["enabled"]
