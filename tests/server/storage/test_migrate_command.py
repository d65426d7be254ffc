"""``fader-server migrate``, and a server before it: as deployments run them, with their exit codes and their words."""

import asyncio
import json
from pathlib import Path

import pytest

from command_line import Done
from fader_server.storage.migrate import migrate
from fader_server.storage.schema_version import NEWEST
from processes import ServerProcess
from server.storage.schemas import make_as_before, make_from_the_future
from server_commands import ServerCommand, program, refusal


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> ServerCommand:
    return ServerCommand(capsys, monkeypatch)


def test_migrating_as_a_step_of_its_own(database_url: str, command: ServerCommand) -> None:
    asyncio.run(make_as_before(database_url, "0001"))
    checked = command(database_url, "migrate", "--check")
    assert (checked.code, checked.err) == (1, "")
    assert f"has schema 0001; `fader-server migrate` would bring it to {NEWEST}" in checked.out
    assert "0002" in checked.out
    printed = command(database_url, "migrate", "--sql")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("BEGIN")
    assert printed.out.endswith("COMMIT;\n")
    migrated = program("migrate", DATABASE_URL=database_url)
    assert (migrated.code, migrated.err) == (0, "")
    events = [json.loads(line)["event"] for line in migrated.out.splitlines()]
    assert [event.partition(":")[0] for event in events] == [
        f"migrated to {number:04}" for number in range(2, int(NEWEST) + 1)
    ]
    assert command(database_url, "migrate", "--sql") == Done(0, "", "")
    checked = command(database_url, "migrate", "--check")
    assert (checked.code, checked.out) == (0, f"nothing to migrate: the database has schema {NEWEST}\n")
    [line] = program("migrate", DATABASE_URL=database_url).out.splitlines()
    assert json.loads(line)["event"] == "nothing to migrate"


@pytest.mark.parametrize(
    ("database_url", "migrates"), [("sqlite", "never"), ("postgresql", "auto")], indirect=["database_url"]
)
def test_a_server_that_may_not_migrate_refuses_an_older_schema(database_url: str, migrates: str) -> None:
    asyncio.run(make_as_before(database_url, "0001"))
    line = refusal(program("serve", DATABASE_URL=database_url, FADER_MIGRATE=migrates, FADER_PORT="0"))
    assert line.startswith("fader-server: DATABASE_URL leads to a database with schema 0001, which is too old")
    assert f"made for schema {NEWEST}: run `fader-server migrate` first, or set FADER_MIGRATE=always" in line


@pytest.mark.parametrize(
    ("database_url", "migrates"), [("sqlite", "auto"), ("postgresql", "always")], indirect=["database_url"]
)
def test_a_server_that_may_migrates_before_it_serves(database_url: str, migrates: str, tmp_path: Path) -> None:
    asyncio.run(make_as_before(database_url, "0001"))
    server = ServerProcess(tmp_path / "server", {"DATABASE_URL": database_url, "FADER_MIGRATE": migrates})
    try:
        server.start()
        assert server.admin.ok("GET", "/projects")["items"][0]["description"] == "from before"
    finally:
        server.close()


def test_a_schema_that_does_not_work_with_this_version(database_url: str, command: ServerCommand) -> None:
    asyncio.run(migrate(database_url))
    asyncio.run(make_from_the_future(database_url, "9999", "9998"))
    for done in (
        program("serve", DATABASE_URL=database_url, FADER_PORT="0"),
        command(database_url, "migrate", "--check"),
        command(database_url, "renew-epochs"),
    ):
        line = refusal(done)
        assert "schema 9999, which works with servers made for 9998 or later" in line
        assert f"made for schema {NEWEST}" in line
        assert "start a newer version of Fader" in line


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/fader.db", "postgresql://fader:hunter2@127.0.0.1:1/fader"])
def test_a_database_that_cannot_be_reached(url: str, command: ServerCommand) -> None:
    for done in (
        program("migrate", "--check", DATABASE_URL=url),
        command(url, "migrate", "--sql"),
        command(url, "renew-epochs"),
    ):
        assert "fader-server: DATABASE_URL: " in refusal(done)
