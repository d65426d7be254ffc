"""``fader-server migrate``, and a server before it: as deployments run them, with their exit codes and their words."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from command_line import Done
from fader_server.storage.schema_version import NEWEST
from processes import PATIENCE, ServerProcess
from server.storage.schemas import make_as_before, make_from_the_future


def run(*arguments: str, **environment: str) -> Done:
    """Run the server's program to its end; it never shows a traceback, or a password."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FADER_")}
    done = subprocess.run(
        [sys.executable, "-m", "fader_server", *arguments],
        env=kept | {"FADER_LOG_FORMAT": "json"} | environment,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    password = urlsplit(environment["DATABASE_URL"]).password
    assert "Traceback" not in done.stdout + done.stderr
    assert password is None or password not in done.stdout + done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def refusal(done: Done) -> str:
    """The one line with which a program that was refused has ended."""
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done
    return done.err


def test_migrating_as_a_step_of_its_own(database_url: str) -> None:
    asyncio.run(make_as_before(database_url, "0001"))
    checked = run("migrate", "--check", DATABASE_URL=database_url)
    assert (checked.code, checked.err) == (1, "")
    assert f"has schema 0001; `fader-server migrate` would bring it to {NEWEST}" in checked.out
    assert "0002" in checked.out
    printed = run("migrate", "--sql", DATABASE_URL=database_url)
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("BEGIN")
    assert printed.out.endswith("COMMIT;\n")
    migrated = run("migrate", DATABASE_URL=database_url)
    assert (migrated.code, migrated.err) == (0, "")
    events = [json.loads(line)["event"] for line in migrated.out.splitlines()]
    assert [event.partition(":")[0] for event in events] == ["migrated to 0002", f"migrated to {NEWEST}"]
    assert "nothing to migrate" in run("migrate", DATABASE_URL=database_url).out
    checked = run("migrate", "--check", DATABASE_URL=database_url)
    assert (checked.code, checked.out) == (0, f"nothing to migrate: the database has schema {NEWEST}\n")
    assert run("migrate", "--sql", DATABASE_URL=database_url) == Done(0, "", "")


@pytest.mark.parametrize(
    ("database_url", "environment"),
    [("sqlite", {"FADER_MIGRATE": "never"}), ("postgresql", {})],
    indirect=["database_url"],
)
def test_a_server_waits_for_nobody_to_migrate(database_url: str, environment: dict[str, str]) -> None:
    asyncio.run(make_as_before(database_url, "0001"))
    line = refusal(run("serve", DATABASE_URL=database_url, **environment))
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


def test_a_schema_that_does_not_work_with_this_version(database_url: str) -> None:
    assert run("migrate", DATABASE_URL=database_url).code == 0
    asyncio.run(make_from_the_future(database_url, "9999", "9998"))
    for command in (["serve"], ["migrate"], ["migrate", "--check"]):
        line = refusal(run(*command, DATABASE_URL=database_url, FADER_PORT="0"))
        assert "schema 9999, which works with servers made for 9998 or later" in line
        assert f"made for schema {NEWEST}" in line
        assert "start a newer version of Fader" in line


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/fader.db", "postgresql://fader:hunter2@127.0.0.1:1/fader"])
def test_a_database_that_cannot_be_reached(url: str) -> None:
    for command in (["migrate"], ["migrate", "--check"], ["renew-epochs"]):
        assert "fader-server: DATABASE_URL: " in refusal(run(*command, DATABASE_URL=url))
