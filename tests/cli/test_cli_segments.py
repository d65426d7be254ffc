"""``segment`` with more users than anybody would type."""

from pathlib import Path

import pytest

from command_line import Cli

KEYS = [f"user-{number}" for number in range(25_000)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users.txt"
    path.write_text("\n".join([*KEYS, "", KEYS[0], "  ada "]), encoding="utf-8")
    return path


def test_a_file_of_many_users(cli: Cli, file: Path) -> None:
    said = cli.ok("segment", "create", "vip", "--keys-from", str(file), "-d", "Those who pay")
    assert "25,001 users by id" in said
    shown = cli.json("segment", "show", "vip")
    assert (shown["targeting_keys"], shown["members"]["count"]) == ([], 25_001)
    assert "25,001" in cli.ok("segment", "list")
    assert set(cli.ok("segment", "members", "vip").split()) == {*KEYS, "ada"}
    assert sorted(cli.json("segment", "members", "vip")) == sorted([*KEYS, "ada"])
    assert "25,001 users" in cli.ok("segment", "create", "other", "--keys-from", str(file), "--dry-run")
    assert [one["key"] for one in cli.json("segment", "list")] == ["vip"]


def test_one_more_and_one_less(cli: Cli, file: Path) -> None:
    cli.ok("segment", "create", "vip", "--keys-from", str(file))
    cli.ok("segment", "edit", "vip", "--key", "grace", "--remove-key", "ada", "--dry-run")
    assert cli.json("segment", "show", "vip")["members"]["version"] == 1
    edited = cli.json("segment", "edit", "vip", "--key", "grace", "--remove-key", "ada", "-m", "They asked")
    assert (edited["members"]["count"], edited["members"]["version"]) == (25_001, 2)
    (change, *_) = cli.json("history", "--segment", "vip", "-e", "production")
    assert (change["reason"], change["after"]["members"]["added"]) == ("They asked", 1)
    described = cli.json("segment", "edit", "vip", "-d", "Paying", "--if", "plan is pro")
    assert (described["description"], described["members"]) == ("Paying", edited["members"])


def test_many_more(cli: Cli, file: Path) -> None:
    cli.ok("segment", "create", "vip", "--key", "first")
    assert cli.json("segment", "edit", "vip", "--keys-from", str(file))["members"]["count"] == 25_002
    assert "first" in cli.ok("segment", "members", "vip").split()


def test_only_these(cli: Cli, file: Path) -> None:
    cli.ok("segment", "create", "vip", "--keys-from", str(file))
    file.write_text("\n".join([*KEYS[5:], "eve"]), encoding="utf-8")
    edited = cli.json("segment", "edit", "vip", "--keys-from", str(file), "--only-these")
    assert (edited["members"]["count"], edited["members"]["version"]) == (24_996, 2)
    few = cli.json("segment", "edit", "vip", "--key", "ada", "--only-these")
    assert (few["targeting_keys"], few["members"]["count"]) == (["ada"], 1)
    assert "needs users" in cli("segment", "edit", "vip", "--only-these").err
