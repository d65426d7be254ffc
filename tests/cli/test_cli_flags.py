"""Flags as such: made, listed, shown, described, archived, deleted."""

from datetime import UTC, datetime

import pytest
import urllib3

from command_line import Cli
from processes import ServerProcess


def test_a_flag_is_made_off_everywhere(cli: Cli) -> None:
    said = cli.ok("create", "new-checkout", "-d", "One-page checkout", "--owner", "payments", "--tag", "web")
    assert "OFF in development, staging, production" in said
    flag = cli.json("show", "new-checkout")
    assert (flag["description"], flag["owner"], flag["tags"]) == ("One-page checkout", "payments", ["web"])
    assert not any(one["enabled"] for one in flag["environments"].values())


def test_a_dry_run_makes_nothing(cli: Cli) -> None:
    assert "would be made" in cli.ok("create", "new-checkout", "--dry-run")
    assert cli.json("list") == []


def test_a_flag_with_variants(cli: Cli) -> None:
    variants = ["--variant", "small=5", "--variant", "large=50.5", "--off-variant", "small"]
    made = cli.json("create", "limit", "--type", "number", *variants)
    assert made["variants"] == [{"name": "small", "value": 5}, {"name": "large", "value": 50.5}]
    done = cli("create", "other", "--type", "number", "--variant", "small=five", "--off-variant", "small")
    assert done.code == 2
    assert "'five' is not JSON" in done.err


def test_the_same_name_again_is_a_conflict(cli: Cli) -> None:
    cli.ok("create", "a")
    assert cli("create", "a").code == 5


def test_a_name_that_is_none_is_refused(cli: Cli) -> None:
    done = cli("create", "a b")
    assert done.code == 1
    assert done.err.startswith("fader: ")


def test_list_has_a_column_for_each_environment(cli: Cli) -> None:
    cli.ok("create", "new-checkout", "-d", "One-page checkout")
    cli.ok("create", "old-search")
    cli.ok("on", "new-checkout", "--at", "10%", "-e", "staging")
    heading, first, second = cli.ok("list").splitlines()
    assert heading.split() == ["FLAG", "DEVELOPMENT", "STAGING", "PRODUCTION", "DESCRIPTION"]
    assert first.split() == ["new-checkout", "OFF", "ON", "10", "%", "OFF", "One-page", "checkout"]
    assert second.split() == ["old-search", "OFF", "OFF", "OFF"]


def test_list_finds(cli: Cli) -> None:
    for key in ("new-checkout", "old-search"):
        cli.ok("create", key)
    assert [flag["key"] for flag in cli.json("list", "--search", "check")] == ["new-checkout"]


def test_an_empty_list_says_what_to_do(cli: Cli) -> None:
    assert "fader create" in cli.ok("list")
    assert cli.json("list") == []


def test_show_tells_all(cli: Cli) -> None:
    cli.ok("create", "new-checkout", "-d", "One-page checkout", "--owner", "payments")
    cli.ok("rule", "add", "new-checkout", "--if", "plan is pro", "--rollout", "5%", "-e", "production")
    cli.ok("on", "new-checkout", "-e", "production", "--reason", "launch")
    said = cli.ok("show", "new-checkout")
    for part in ("One-page checkout", "payments", "5 % of those with plan in pro", "not evaluated in 24 h", "“launch”"):
        assert part in said
    only = cli.ok("show", "new-checkout", "-e", "production")
    assert "staging  OFF" not in only
    unknown = cli("show", "new-checkout", "-e", "prod")
    assert unknown.code == 3
    assert "production" in unknown.err


def test_show_tells_usage(cli: Cli, server: ServerProcess) -> None:
    # Keys that SDKs report with belong to the project `default`.
    cli.ok("create", "shown-usage", "-p", "default")
    report = {
        "instance": "i",
        "app": "shop",
        "id": "0d9a4a52-6d0a-4a5f-8d9a-6a2f8f3f0c11",
        "started": datetime.now(UTC).isoformat(),
        "ended": datetime.now(UTC).isoformat(),
        "flags": {"shown-usage": {"on": 1200, "off": 7}},
        "unknown": {},
    }
    answer = urllib3.request(
        "POST", f"{server.url}/sdk/v1/usage", json=report, headers={"Authorization": f"Bearer {server.sdk_key()}"}
    )
    assert answer.status == 202, answer.data
    said = cli.ok("show", "shown-usage", "-p", "default")
    assert "on 1,200" in said
    assert "off 7" in said


def test_a_flag_is_described_anew(cli: Cli) -> None:
    cli.ok("create", "a", "-d", "old")
    assert "~ description: old → new" in cli.ok("edit", "a", "-d", "new", "--dry-run")
    assert cli.json("show", "a")["description"] == "old"
    cli.ok("edit", "a", "-d", "new", "--tag", "x", "--kind", "ops")
    flag = cli.json("show", "a")
    assert (flag["description"], flag["tags"], flag["kind"]) == ("new", ["x"], "ops")
    assert cli("edit", "a").code == 2


def test_out_of_use_and_back(cli: Cli) -> None:
    cli.ok("create", "a")
    assert cli("delete", "a", "--yes").code == 5, "only archived flags are deleted"
    cli.ok("archive", "a", "--yes", "--reason", "done")
    assert cli.json("list") == []
    assert [flag["key"] for flag in cli.json("list", "--archived")] == ["a"]
    assert cli("on", "a").code == 5
    cli.ok("unarchive", "a")
    cli.ok("archive", "a", "--yes")
    assert cli.json("delete", "a", "--yes") == {"deleted": "a"}
    assert cli("show", "a").code == 3


@pytest.mark.parametrize("command", [("archive", "a"), ("delete", "a"), ("env", "delete", "staging")])
def test_without_a_terminal_nothing_is_destroyed_unasked(cli: Cli, command: tuple[str, ...]) -> None:
    cli.ok("create", "a")
    done = cli(*command)
    assert done.code == 2
    assert "add --yes" in done.err
    assert cli.json("show", "a")["archived_at"] is None


def test_variants_of_a_flag(cli: Cli) -> None:
    cli.ok("create", "colour", "--type", "string", "--variant", "red=#f00", "--off-variant", "red")
    cli.ok("variant", "set", "colour", "blue", "#00f")
    cli.ok("variant", "set", "colour", "red", "#e00")
    wanted = [{"name": "red", "value": "#e00"}, {"name": "blue", "value": "#00f"}]
    assert cli.json("variant", "list", "colour") == wanted
    assert "#00f" in cli.ok("variant", "list", "colour")
    cli.ok("variant", "off", "colour", "blue")
    cli.ok("variant", "remove", "colour", "red", "--dry-run")
    cli.ok("variant", "remove", "colour", "red")
    assert [one["name"] for one in cli.json("variant", "list", "colour")] == ["blue"]
    done = cli("variant", "remove", "colour", "green")
    assert done.code == 3
    assert "it has: blue" in done.err


def test_a_boolean_flag_has_the_variants_that_it_needs(cli: Cli) -> None:
    cli.ok("create", "a")
    assert "boolean" in cli.ok("variant", "list", "a")
    assert cli("variant", "set", "a", "maybe", "true").code == 1
