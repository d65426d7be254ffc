"""What applications report is not lost while the database is away, but for what would be too much."""

import asyncio
from datetime import UTC, datetime
from hashlib import blake2b
from typing import cast

import pytest

from admin_server import AdminServer
from fader.outcomes import Arm, OutcomeReport, Outcomes
from fader.sketches import Sketch
from fader_server.ramping.outcomes import Reports
from fader_server.storage import Store

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def many() -> Outcomes:
    """Of so many users that their sketches are as large as any."""
    users = Sketch()
    users.add(blake2b(number.to_bytes(4, "big"), digest_size=8).digest() for number in range(20_000))
    sketch = users.encode()
    return Outcomes(treatment=Arm(exposed=sketch, failed=sketch), control=Arm(exposed=sketch, failed=sketch))


def report(name: str, outcomes: Outcomes) -> OutcomeReport:
    return OutcomeReport(id=name, instance="web-1", app="shop", guards={"ramp.0.checkout": outcomes})


def test_what_waits_is_bounded(many: Outcomes) -> None:
    reports = Reports(cast("Store", None), lambda: datetime.now(UTC))
    sizes = set()
    for number in range(3000):
        reports.take("default", "production", report(f"r{number}", many))
        sizes.add(reports.waiting_bytes)
    assert max(sizes) == reports.waiting_bytes  # in the end nothing more is kept …
    assert 31 * MEGABYTE < reports.waiting_bytes <= 32 * MEGABYTE
    assert len(sizes) > 1000  # … and until then, everything


def test_what_is_merged_waits_no_longer(server: AdminServer, many: Outcomes) -> None:
    async def merge() -> int:
        reports = Reports(server.services.store, lambda: datetime.now(UTC))
        reports.take("default", "production", report("r", many))
        assert reports.waiting_bytes
        await reports.merge()
        return reports.waiting_bytes

    assert server.call(merge) == 0


def test_what_was_accepted_is_merged_when_the_server_ends(server: AdminServer, many: Outcomes) -> None:
    async def end() -> int:
        reports = Reports(server.services.store, lambda: datetime.now(UTC))
        running = asyncio.create_task(reports.run())
        await asyncio.sleep(0)
        reports.take("default", "production", report("r", many))
        assert reports.waiting_bytes
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return reports.waiting_bytes

    assert server.call(end) == 0


def test_what_was_being_merged_when_that_was_cut_short_waits_again(server: AdminServer, many: Outcomes) -> None:
    async def cut_short() -> tuple[int, int]:
        reports = Reports(server.services.store, lambda: datetime.now(UTC))
        reports.take("default", "production", report("r", many))
        before = reports.waiting_bytes
        merging = asyncio.create_task(reports.merge())
        await asyncio.sleep(0)
        assert not reports.waiting_bytes
        merging.cancel()
        await asyncio.gather(merging, return_exceptions=True)
        return before, reports.waiting_bytes

    before, after = server.call(cut_short)
    assert after == before > 0
