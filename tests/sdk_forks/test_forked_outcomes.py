"""Outcomes are reported by the process that recorded them, and once."""

import sys

import msgspec
import pytest

from fader.outcomes import OutcomeReport, Outcomes
from sdk_contract.documents import flag, guard
from sdk_contract.scripted_server import ScriptedServer
from sdk_forks.forked_programs import PROGRAMS, Program, environment

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork"),
    pytest.mark.xdist_group("sdk-forks-bare"),
]


@pytest.mark.parametrize("ending", ["exit", "close"])
def test_parent_and_children_report_their_own(server: ScriptedServer, ending: str) -> None:
    server.world.flags["ramped"] = flag("ramped", rules=[{"id": "all"}])
    server.world.guards["ramped"] = [guard("r.0.errors", "payment", "all")]
    command = [sys.executable, str(PROGRAMS / "recording_forks.py"), ending]
    with Program(command, environment(server.url)) as program:
        assert program.wait() == 0, program.errors()
    reports = [msgspec.json.decode(request.body, type=OutcomeReport) for request in server.asked("outcomes")]
    values: dict[str, int] = {}
    whole = Outcomes()
    for report in reports:
        seen = report.guards["r.0.errors"]
        values[report.instance] = values.get(report.instance, 0) + seen.treatment.sums.count
        whole = whole.merged(seen)
    assert sorted(values.values()) == [2, 2, 2, 3]  # "shared" is a user of each child, counted once among all
    assert whole.treatment.counts() == (7, 0)
