"""``explain``, ``history``, ``watch``: who sees what, why, since when, by whom."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen
from typing import Any

import pytest

from command_line import Cli
from processes import PATIENCE, ServerProcess


@pytest.fixture
def flag(cli: Cli) -> str:
    cli.ok("create", "new-checkout")
    return "new-checkout"


def test_explain_draws_each_rule(cli: Cli, flag: str) -> None:
    cli.ok("segment", "create", "beta", "--key", "grace")
    cli.ok("rule", "add", flag, "--if", "country in DE,AT", "--if", "not plan is free", "-d", "Neighbours")
    cli.ok("rule", "add", flag, "--segment", "beta", "--rollout", "100%")
    cli.ok("rule", "add", flag, "--rollout", "50%")
    off = cli.ok("explain", flag, "-u", "ada")
    assert "is OFF for ada in development: it is switched off" in off
    assert "rule 1 (Neighbours): not reached" in off
    cli.ok("on", flag)
    said = cli.ok("explain", flag, "-u", "ada", "-a", "country=FR")
    assert "✗ rule 1 (Neighbours): the constraint on country does not hold" in said
    assert "✗ country in DE, AT · it is FR" in said
    assert "✓ not plan in free · it is missing" in said
    assert "✗ in segment beta" in said
    assert "rollout 50 % · ada is at " in said
    assert "●" in said
    german = cli.ok("explain", flag, "-u", "ada", "-a", "country=DE")
    assert "is ON for ada" in german
    assert "✓ rule 1 (Neighbours)" in german
    assert "rule 3" in german
    assert "somebody without an id" in cli.ok("explain", flag)


def test_explain_as_a_document(cli: Cli, flag: str) -> None:
    cli.ok("on", flag, "--at", "50%")
    answer = cli.json("explain", flag, "-u", "ada")
    (rule,) = answer["rules"]
    assert answer["enabled"] is (rule["rollout"]["bucket"] < 50_000)


@pytest.mark.parametrize(
    ("attribute", "condition", "holds"),
    [
        ("version=3.10", "version in 3.10", True),
        ("version=3.10.0", "version semver_gt 3.9.0", True),
        ("age=18", "age >= 18", True),
        ("vip=true", "vip is true", True),
        ('tags=["a","b"]', "tags is b", True),
        ("name=", "name exists", True),
        ("formula=a=b", "formula is a=b", True),
        ("zip=01234", "zip is 01234", True),
        ("at=2026-11-23T10:00:00Z", "at before 2027-01-01T00:00:00Z", True),
    ],
)
def test_attributes_are_read_as_they_are_meant(
    cli: Cli, flag: str, attribute: str, condition: str, holds: bool
) -> None:
    cli.ok("rule", "add", flag, "--if", condition)
    cli.ok("on", flag)
    assert cli.json("explain", flag, "-u", "ada", "-a", attribute)["enabled"] is holds


@pytest.mark.parametrize("attribute", ["country", "=DE"])
def test_an_attribute_that_is_none(cli: Cli, flag: str, attribute: str) -> None:
    assert cli("explain", flag, "-a", attribute).code == 2


def test_explain_a_split_and_a_prerequisite(cli: Cli, server: ServerProcess, project: str) -> None:
    cli.ok("create", "base")
    cli.ok("create", "colour", "--type", "string", "--variant", "red=r", "--variant", "blue=b", "--off-variant", "red")
    rule = {"split": {"variants": [{"variant": "red", "weight": 30}, {"variant": "blue", "weight": 70}]}}
    server.admin.ok(
        "PUT",
        f"/projects/{project}/flags/colour/environments/development",
        {"enabled": True, "rules": [rule], "prerequisites": [{"flag": "base", "enabled": True}]},
    )
    assert "✗ needs base on: it is off" in cli.ok("explain", "colour", "-u", "ada")
    assert "needs base on" in cli.ok("show", "colour")
    cli.ok("on", "base")
    said = cli.ok("explain", "colour", "-u", "ada")
    assert "✓ needs base on: it is on" in said
    assert " of 100 → " in said


def test_history_says_who_what_when_why(cli: Cli, flag: str) -> None:
    cli.ok("on", flag, "--at", "10%", "-e", "production", "--reason", "launch [1]")
    cli.ok("rollout", flag, "50%", "-e", "production")
    lines = cli.ok("history", flag).splitlines()
    assert "production 4  new-checkout rollout by initial" in lines[0]
    assert lines[1].endswith("10 % of everybody → 50 % of everybody")
    assert lines[2].endswith("production 3  new-checkout on by initial  “launch [1]”")
    assert lines[3] == "    ~ OFF → ON"
    assert lines[4].endswith(": 10 % of everybody")
    assert "development 2, staging 2, production 2  new-checkout created" in lines[5], "one change, not three"
    assert len(lines) == 6
    assert len(cli.json("history", flag)) == 5
    assert len(cli.json("history", flag, "-e", "production", "-n", "2")) == 2


def test_history_of_everything(cli: Cli, flag: str) -> None:
    assert [change["kind"] for change in cli.json("history")] == ["flag"] * 3 + ["environment"] * 3
    assert cli.ok("history", "nothing-of-that-name") == "no changes\n"


@contextmanager
def watching(cli: Cli, *options: str) -> "Iterator[Popen[str]]":
    process = cli.start("watch", *options)
    try:
        assert process.stderr is not None
        assert "watching" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_watch_shows_changes_and_ends_with_ctrl_c(cli: Cli, flag: str) -> None:
    with watching(cli, "-e", "production") as process:
        cli.ok("on", flag, "-e", "staging")
        cli.ok("on", flag, "-e", "production", "--reason", "launch")
        assert process.stdout is not None
        assert process.stdout.readline().rstrip().endswith("production 3  new-checkout on by initial  “launch”")
        assert process.stdout.readline().strip() == "~ OFF → ON"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert (out, err.strip()) == ("", "")


def test_watch_as_documents_and_for_some_changes(cli: Cli, flag: str) -> None:
    with watching(cli, "--json", "-n", "2") as process:
        cli.ok("on", flag)
        cli.ok("off", flag)
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        changes: list[Any] = [json.loads(line) for line in out.splitlines()]
        assert [change["action"] for change in changes] == ["on", "off"]


def test_watch_of_what_is_not_there_fails_at_once(cli: Cli) -> None:
    assert cli("watch", "-p", "nope").code == 3
    assert cli("watch", "--url", "http://127.0.0.1:9", "--token", "x").code == 6
