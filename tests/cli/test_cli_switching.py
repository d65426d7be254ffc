"""``on``, ``off``, ``rollout``, ``undo``: what on-call does."""

from typing import Any

import pytest

from command_line import Cli
from processes import ServerProcess

PRODUCTION = ("-e", "production")


@pytest.fixture
def flag(cli: Cli) -> str:
    cli.ok("create", "new-checkout")
    return "new-checkout"


def state(cli: Cli, flag: str, environment: str = "production") -> Any:
    return cli.json("show", flag)["environments"][environment]


def test_a_release_goes_up_and_comes_down(cli: Cli, flag: str) -> None:
    assert "is ON 1 % in production" in cli.ok("on", flag, "--at", "1%", *PRODUCTION)
    assert "is ON 10 % in production" in cli.ok("rollout", flag, "10%", *PRODUCTION)
    assert "is ON 0.001 % in production" in cli.ok("rollout", flag, "0.001%", *PRODUCTION)
    assert "is ON in production" in cli.ok("rollout", flag, "100%", *PRODUCTION)
    said = cli.ok("off", flag, *PRODUCTION, "--reason", "INC-731")
    assert "is OFF in production" in said
    assert "switches it on" not in said
    assert state(cli, flag)["enabled"] is False
    assert cli.json("history", flag, "-n", "1")[0]["reason"] == "INC-731"


def test_json_tells_what_became_of_it(cli: Cli, flag: str) -> None:
    answer = cli.json("on", flag, *PRODUCTION)
    assert answer["changed"] is True
    assert answer["environment"] == "production"
    assert cli.json("on", flag, *PRODUCTION) == answer | {"changed": False}


def test_nothing_left_to_do_is_no_error(cli: Cli, flag: str) -> None:
    assert "nothing to change" in cli.ok("off", flag, *PRODUCTION)


def test_a_rollout_never_switches_on(cli: Cli, flag: str) -> None:
    said = cli.ok("rollout", flag, "50%", *PRODUCTION)
    assert "is OFF in production" in said
    assert f"`fader on {flag} -e production" in said
    assert state(cli, flag)["enabled"] is False


def test_rollout_by_salt_and_rule(cli: Cli, flag: str) -> None:
    cli.ok("rollout", flag, "5%", "--by", "tenant", "--salt", "wave", *PRODUCTION)
    (rule,) = state(cli, flag)["rules"]
    assert rule["rollout"] == {"percentage": 5.0, "by": "tenant", "salt": "wave"}
    cli.ok("rule", "add", flag, "--if", "plan is pro", "--rollout", "1%", *PRODUCTION)
    second = state(cli, flag)["rules"][1]["id"]
    cli.ok("rollout", flag, "7%", "--rule", second, *PRODUCTION)
    assert [rule["rollout"]["percentage"] for rule in state(cli, flag)["rules"]] == [5.0, 7.0]


def test_undo_goes_back_and_forth(cli: Cli, flag: str) -> None:
    cli.ok("on", flag, "--at", "10%", *PRODUCTION)
    assert "is OFF in production" in cli.ok("undo", flag, *PRODUCTION)
    assert "is ON 10 % in production" in cli.ok("undo", flag, *PRODUCTION)


def test_nothing_to_undo_is_a_conflict(cli: Cli, flag: str) -> None:
    done = cli("undo", flag, *PRODUCTION)
    assert done.code == 5
    assert "nothing to undo" in done.err


def test_a_dry_run_shows_what_would_change_and_changes_nothing(cli: Cli, flag: str) -> None:
    cli.ok("on", flag, "--at", "10%", *PRODUCTION)
    before = state(cli, flag)
    said = cli.ok("rollout", flag, "50%", "--dry-run", *PRODUCTION)
    assert "would be ON 50 %" in said
    assert "10 % of everybody → 50 % of everybody" in said
    assert "~ ON → OFF" in cli.ok("off", flag, "--dry-run", *PRODUCTION)
    assert cli.json("off", flag, "--dry-run", *PRODUCTION)["changed"] is True
    assert state(cli, flag) == before


def test_the_environment_is_always_named(cli: Cli, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "in development" in cli.ok("on", flag), "the profile's"
    monkeypatch.setenv("FADER_ENVIRONMENT", "staging")
    assert "in staging" in cli.ok("on", flag), "a variable wins over the profile"
    assert "in production" in cli.ok("on", flag, *PRODUCTION), "an option wins over both"


def test_without_an_environment_it_lists_them(cli: Cli, flag: str, server: ServerProcess, project: str) -> None:
    done = cli.program(
        "off", flag, "-p", project, FADER_URL=server.url, FADER_TOKEN=server.admin_token, FADER_CONFIG_DIR="/nowhere"
    )
    assert done.code == 2
    assert all(name in done.err for name in ("-e", "development", "staging", "production"))


@pytest.mark.parametrize("verb", [("on",), ("off",), ("rollout", "5%"), ("undo",)])
def test_a_typing_error_is_answered_with_the_nearest_name(cli: Cli, flag: str, verb: tuple[str, ...]) -> None:
    name, *percentage = verb
    done = cli(name, "new-chekout", *percentage, *PRODUCTION)
    assert done.code == 3
    assert "Did you mean new-checkout?" in done.err
    assert cli(name, "new-chekout", *percentage, *PRODUCTION, "--json").error["problem"]["suggestions"] == [flag]


@pytest.mark.parametrize("percentage", ["150%", "abc", "0.0001"])
def test_a_wrong_percentage_is_refused(cli: Cli, flag: str, percentage: str) -> None:
    done = cli("rollout", flag, percentage, *PRODUCTION)
    assert done.code == 2
    assert percentage in done.err
    assert done.err.count("\n") == 1


def test_what_unleashs_sdks_see_otherwise_is_said_beside_the_result(cli: Cli, flag: str) -> None:
    done = cli("on", flag, "--at", "0.5%", *PRODUCTION)
    assert "! Unleash SDKs let nobody in by this rule" in done.err
    assert "Unleash" not in done.out
    assert [one["field"] for one in cli.json("on", flag, *PRODUCTION, "--dry-run")["warnings"]] == [
        "rules[0].rollout.percentage"
    ]
    assert "Unleash" not in cli.ok("off", flag, *PRODUCTION)


def test_show_tells_what_unleashs_sdks_see_otherwise(cli: Cli, flag: str) -> None:
    cli.ok("rollout", flag, "12.5%", *PRODUCTION)
    assert "! Unleash SDKs let 12 % in by this rule" in cli("show", flag).out
    assert "Unleash" not in cli.ok("show", flag, "-e", "staging")
    shown = cli.json("show", flag)["compatibility"]
    assert {name: seen["exact"] for name, seen in shown.items()} == {
        "development": True,
        "staging": True,
        "production": False,
    }
