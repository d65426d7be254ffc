"""Requests that are not done when the time for a shutdown is over."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from fader_server.storage.migrate import migrate
from processes import ServerProcess, running_server, wait_for
from services.postgres import PostgresDatabases

pytestmark = pytest.mark.anyio

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def said(server: ServerProcess, event: str) -> list[str]:
    """The levels of the lines with this event; and no line may tell of an exception."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert not [line for line in lines if "exception" in line]
    return [line["level"] for line in lines if line["event"] == event]


async def test_a_write_that_waits_for_another_one(postgres: PostgresDatabases, tmp_path: Path) -> None:
    url = postgres.create_database()
    await migrate(url)
    with running_server(tmp_path, DATABASE_URL=url, FADER_SHUTDOWN_SECONDS="1") as server:
        server.admin.create_flag("f")
        switch_on = "/projects/default/flags/f/environments/production/on"
        # Somebody else, who takes too long.
        other = await asyncpg.connect(url)
        async with other.transaction():
            await other.execute("SELECT * FROM environments FOR UPDATE")
            writing = asyncio.create_task(
                asyncio.to_thread(server.admin.request, "POST", switch_on, {}, headers={"Idempotency-Key": "k"})
            )
            await asyncio.to_thread(wait_for, lambda: postgres.execute(WAITING, url), "the write to wait")
            assert await asyncio.to_thread(server.terminate) == 0
            answer = await writing
        await other.close()
        assert answer.status == 503, answer
        assert "may or may not have been made" in answer.json["detail"]
        assert said(server, "a request was cut short by the shutdown") == ["warning"]
        # It was not made, as it happens, and is made when it is sent again.
        server.start()
        assert not server.admin.ok("GET", "/projects/default/flags/f")["environments"]["production"]["enabled"]
        assert server.admin.request("POST", switch_on, {}, headers={"Idempotency-Key": "k"}).json["changed"]
