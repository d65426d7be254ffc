"""``rule`` and ``segment``: whom a flag lets in."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli


@pytest.fixture
def flag(cli: Cli) -> str:
    cli.ok("create", "new-checkout")
    return "new-checkout"


def rules(cli: Cli, flag: str) -> Any:
    return cli.json("rule", "list", flag)


def test_a_rule_of_all_kinds(cli: Cli, flag: str) -> None:
    cli.ok("segment", "create", "beta", "--key", "ada")
    said = cli.ok(
        *("rule", "add", flag, "--if", "country in DE,AT,CH", "--if", "app_version semver_ge 3.2.0"),
        *("--if", "not plan in free", "--segment", "beta", "--rollout", "50%", "--by", "default", "-d", "Early birds"),
    )
    assert "50 % of those with country in DE, AT, CH and app_version semver_ge 3.2.0" in said
    (rule,) = rules(cli, flag)
    assert rule["segments"] == ["beta"]
    assert rule["rollout"]["percentage"] == 50.0
    assert rule["description"] == "Early birds"
    assert rule["constraints"][2] == {"attribute": "plan", "operator": "in", "values": ["free"], "inverted": True}
    assert "Early birds" in cli.ok("rule", "list", flag)


def test_positions_are_counted_as_they_are_shown(cli: Cli, flag: str) -> None:
    for name in ("first", "second"):
        cli.ok("rule", "add", flag, "-d", name)
    cli.ok("rule", "add", flag, "-d", "in front", "--position", "1")
    cli.ok("rule", "add", flag, "-d", "third", "--position", "3")
    assert [rule["description"] for rule in rules(cli, flag)] == ["in front", "first", "third", "second"]
    assert cli("rule", "add", flag, "--position", "0").code == 2


def test_edit_changes_what_is_named(cli: Cli, flag: str) -> None:
    cli.ok("rule", "add", flag, "--if", "plan is pro", "--rollout", "5%", "--salt", "wave")
    (rule,) = rules(cli, flag)
    assert "would be" in cli.ok("rule", "edit", flag, rule["id"], "--rollout", "0%", "--dry-run")
    cli.ok("rule", "edit", flag, rule["id"], "--rollout", "0%")
    (changed,) = rules(cli, flag)
    assert changed == rule | {"rollout": {"percentage": 0.0, "salt": "wave"}}
    cli.ok("rule", "edit", flag, rule["id"], "--no-conditions")
    assert "constraints" not in rules(cli, flag)[0]
    assert cli("rule", "edit", flag, rule["id"]).code == 2


def test_a_rule_that_is_not_there(cli: Cli, flag: str) -> None:
    cli.ok("rule", "add", flag)
    (rule,) = rules(cli, flag)
    for command in (("edit", flag, "zzz", "--rollout", "5"), ("remove", flag, "zzz")):
        done = cli("rule", *command)
        assert done.code == 3
    assert rule["id"] in cli("rule", "edit", flag, "zzz", "--rollout", "5").err


def test_remove(cli: Cli, flag: str) -> None:
    cli.ok("rule", "add", flag)
    cli.ok("rule", "remove", flag, rules(cli, flag)[0]["id"], "--reason", "not needed")
    assert rules(cli, flag) == []


def test_served_variants(cli: Cli) -> None:
    cli.ok("create", "colour", "--type", "string", "--variant", "red=r", "--variant", "blue=b", "--off-variant", "red")
    cli.ok("rule", "add", "colour", "--split", "red=30, blue=70")
    cli.ok("rule", "add", "colour", "--serve", "blue")
    split, serve = rules(cli, "colour")
    assert split["split"]["variants"] == [{"variant": "red", "weight": 30}, {"variant": "blue", "weight": 70}]
    assert serve["variant"] == "blue"
    cli.ok("rule", "edit", "colour", split["id"], "--serve", "red")
    assert rules(cli, "colour")[0] == {"id": split["id"], "variant": "red"}
    for options, code in (
        (("--serve", "red", "--split", "red=1"), 2),
        (("--split", "red"), 2),
        (("--split", "red=x"), 2),
        (("--serve", "green"), 1),
    ):
        assert cli("rule", "add", "colour", *options).code == code


def test_a_rule_as_a_document(cli: Cli, flag: str, tmp_path: Path) -> None:
    rule = {"description": "from a file", "rollout": {"percentage": 3.0}}
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(rule))
    cli.ok("rule", "add", flag, "--from-json", str(file))
    assert cli.program("rule", "add", flag, "--from-json", "-", stdin=json.dumps(rule)).code == 0
    assert [{k: v for k, v in one.items() if k != "id"} for one in rules(cli, flag)] == [rule, rule]
    assert cli("rule", "add", flag, "--from-json", str(file), "--rollout", "0%").code == 2
    file.write_text("{")
    assert cli("rule", "add", flag, "--from-json", str(file)).code == 2
    file.write_text('{"rolout": {}}')
    done = cli("rule", "add", flag, "--from-json", str(file))
    assert done.code == 1
    assert "rolout" in done.err


def test_a_wrong_condition_is_pointed_at(cli: Cli, flag: str) -> None:
    done = cli("rule", "add", flag, "--if", "country im DE")
    assert done.code == 2
    first, condition, caret = done.err.splitlines()
    assert "'im' is not an operator" in first
    assert condition[caret.index("^") :] == "im DE"


def test_an_unknown_segment_is_refused(cli: Cli, flag: str) -> None:
    done = cli("rule", "add", flag, "--segment", "beta")
    assert done.code == 1
    assert "there is no segment 'beta'" in done.err


def test_segments(cli: Cli, flag: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("ada\ngrace\n\n  linus  \nada\n")
    said = cli.ok("segment", "create", "beta", "--keys-from", str(file), "--if", "plan is pro", "-d", "Brave")
    assert "3 users by id: ada, grace, linus" in said
    cli.ok("rule", "add", flag, "--segment", "beta")
    shown = cli.json("segment", "show", "beta")
    assert shown["used_by"] == [flag]
    assert flag in cli.ok("segment", "show", "beta")
    assert "Brave" in cli.ok("segment", "list")
    cli.ok("segment", "edit", "beta", "--key", "ken", "--remove-key", "ada", "--dry-run")
    assert cli.json("segment", "show", "beta") == shown
    cli.ok("segment", "edit", "beta", "--key", "ken", "--remove-key", "ada", "--no-conditions")
    changed = cli.json("segment", "show", "beta")
    assert (changed["targeting_keys"], changed["constraints"]) == (["grace", "linus", "ken"], [])
    done = cli("segment", "delete", "beta", "--yes")
    assert done.code == 5
    assert flag in done.err
    cli.ok("rule", "remove", flag, rules(cli, flag)[0]["id"])
    cli.ok("segment", "delete", "beta", "--yes")
    assert cli.json("segment", "list") == []
    assert "targeting_keys: ken" in cli.ok("history", "--segment", "beta")


def test_a_typing_error_in_a_segment(cli: Cli) -> None:
    cli.ok("segment", "create", "beta")
    done = cli("segment", "show", "bta")
    assert done.code == 3
    assert "Did you mean beta?" in done.err


def test_ids_that_are_no_text_are_refused_in_a_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ids.bin"
    file.write_bytes(b"\xff\xfe\x00")
    done = cli("segment", "create", "beta", "--keys-from", str(file))
    assert done.code in (1, 2)
    assert "ids.bin" in done.err
    assert done.err.count("\n") == 1
