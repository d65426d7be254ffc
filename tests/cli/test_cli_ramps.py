"""``ramp``: flags that go up in steps, and come down by themselves; what their guards see is reported as SDKs would."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import Cli
from fader_cli.exits import ExitCode
from processes import PATIENCE, ServerProcess, running_server, wait_for
from reporting import Reporter

FLAG = "new-checkout"
PRODUCTION = ("-e", "production")
HEALTHY = (200, 2), (200, 2)
"""Users who came and users who failed: with the feature, and without."""

HARMFUL = (200, 60), (200, 2)


@pytest.fixture
def flag(cli: Cli) -> str:
    cli.ok("create", FLAG)
    return FLAG


@pytest.fixture
def report(server: ServerProcess, project: str, flag: str) -> Iterator[Callable[..., None]]:
    """Tells the guards of the flag who came, and who failed."""
    made = server.admin.ok("POST", f"/projects/{project}/keys", {"name": "sdk", "environment": "production"})
    reporter = Reporter(server, sdk_key=made["secret"])
    yield lambda *arms, step=0: reporter.report(flag, *arms, step=step)
    reporter.close()


def started(cli: Cli, *options: str, steps: str = "50%,100%") -> Any:
    return cli.json("ramp", FLAG, steps, *PRODUCTION, *options)["ramp"]


def status(cli: Cli) -> Any:
    return cli.json("ramp", "status", FLAG, *PRODUCTION)


def followed(cli: Cli) -> Any:
    """Where a ramp ends, as somebody hears who follows it in a pipeline."""
    return cli("ramp", "status", FLAG, *PRODUCTION, "--follow")


def test_a_ramp_begins_and_says_what_it_will_do(cli: Cli, flag: str) -> None:
    done = cli("ramp", flag, "1%,10%,100%", *PRODUCTION, "--every", "1h", "--guard", "checkout", "-m", "release 42")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{flag} in production is in step 1 of 3, 1 %"
    assert re.fullmatch(r"until [0-9: -]+ at the earliest, in (1 h|59 min \d+ s)", lines[1])
    assert lines[2] == "● 1 %  · 10 %  · 100 %  · watched 30 min more   1 h each"
    assert lines[3].startswith("started by ")
    assert lines[3].endswith(" “release 42”")
    assert lines[4] == "at most 1 healthy ramp in 20 is turned back"
    assert "users who failed" in done.out
    assert "turns back at 40:1" in done.out
    assert f"`fader ramp status {flag} -e production --follow` shows how it goes" in done.err
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is True


def test_options_become_a_plan(cli: Cli, flag: str) -> None:
    ramp = started(
        cli,
        *("--every", "30m", "--bake", "2h", "--users", "7", "--alpha", "1%", "--approve", "100%", "--deadline", "2d"),
        *("--guard", "checkout:margin=10%:hold", "--guard", "checkout:latency=800ms", "--guard", "checkout:latency"),
        *("--no-data", "advance", "--at-deadline", "rollback", "--sample-ratio", "notify"),
        steps="1%:2h,10%,100%",
    )
    plan = ramp["plan"]
    assert [(one["percentage"], one["hold_seconds"], one["needs_approval"]) for one in plan["steps"]] == [
        (1, 7200, False),
        (10, 1800, True),
        (100, 1800, False),
    ]
    assert {one["least_exposed"] for one in plan["steps"]} == {7}
    assert [(one["id"], one["kind"], one["slower_than_ms"], one["action"]) for one in plan["guards"]] == [
        ("checkout", "failures", None, "hold"),
        ("checkout-latency", "latency", 800, "rollback"),
        ("checkout-latency-2", "latency", None, "rollback"),
    ]
    assert plan["guards"][0]["margin"] == 0.1
    assert (plan["bake_seconds"], plan["alpha"]) == (7200, 0.01)
    assert (plan["no_data"], plan["at_deadline"], plan["sample_ratio"]) == ("advance", "rollback", "notify")
    assert plan["deadline"] > ramp["created_at"]


def test_a_plan_can_come_from_a_file(cli: Cli, flag: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"steps": [{"percentage": 5, "hold_seconds": 60}]}))
    assert cli.json("ramp", flag, "--from-json", str(file), *PRODUCTION)["ramp"]["percentage"] == 5
    done = cli("ramp", flag, "1%", "--from-json", str(file), *PRODUCTION)
    assert (done.code, "is the whole plan" in done.err) == (ExitCode.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "which steps?"),
        (("lots",), "steps are like 1%,10%,50%,100%"),
        (("1%,100%", "--every", "soon"), "write it like 30s, 10m"),
        (("1%,100%", "--guard", "checkout:quick"), "'quick' says nothing about a guard"),
        (("1%,100%", "--guard", ":hold"), "the metric is missing"),
        (("1%,100%", "--prometheus", "up"), "--prometheus needs --max or --min"),
        (("1%,100%", "--max", "1"), "--prometheus needs --max or --min"),
        (("1%,100%", "--approve", "50%"), "there is no step of 50 % to approve of"),
        (("1%,100%", "--approve", "1%"), "the first step is approved of by starting it"),
        (("1%,100%", "--deadline", "tomorrow"), "write it like 6h, or 2030-01-31T18:00"),
        (("1%,100%", "--failing", "1%", "--plan"), "go together"),
        (("1%,100%", "--follow", "--dry-run"), "cannot go together"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(cli: Cli, flag: str, arguments: tuple[str, ...], complaint: str) -> None:
    done = cli("ramp", flag, *arguments, *PRODUCTION)
    assert (done.code, complaint in done.err) == (ExitCode.USAGE, True), done
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("50%,10%",), "is not more than the 50 % before it"),
        (("1%,100%", "--prometheus", "up", "--min", "1"), "FADER_PROMETHEUS_URL"),
        (("1%,100%", "--rule", "nobody"), "nobody"),
    ],
)
def test_what_the_server_finds_wrong_is_named_too(
    cli: Cli, flag: str, arguments: tuple[str, ...], complaint: str
) -> None:
    done = cli("ramp", flag, *arguments, *PRODUCTION)
    assert (done.code != 0, complaint in done.err) == (True, True), done
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False


def test_a_plan_can_be_looked_at_before(cli: Cli, flag: str) -> None:
    steps = ("1%,10%,100%", *PRODUCTION, "--every", "1h", "--guard", "checkout", "--plan")
    said = cli.ok("ramp", flag, *steps, "--users-per-hour", "60000", "--failing", "1%")
    assert "would be released in production after 3 h 30 min at the earliest" in said
    rows = [line.split() for line in said.splitlines()[2:5]]
    assert [row[:4] for row in rows[:2]] == [["1", "%", "1", "h"], ["10", "%", "1", "h"]]
    assert rows[0][4:6] == ["600", "59,400"]
    assert rows[1][4:6] == ["6,000", "54,000"]
    lifts = [float(row[6]) for row in rows[:2]]
    assert 1 < lifts[1] < lifts[0] < 10
    assert "nobody to compare with" in said
    assert "nothing is started yet" in said
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False
    assert cli("ramp", "status", flag, *PRODUCTION).code == ExitCode.NOT_FOUND
    unknown = cli.ok("ramp", flag, *steps)
    assert "say --users-per-hour and --failing" in unknown
    assert cli.json("ramp", flag, *steps)["traffic"] is None


def test_harm_turns_it_back_and_whoever_follows_is_told(cli: Cli, flag: str, report: Callable[..., None]) -> None:
    started(cli, "--guard", "checkout")
    report(*HARMFUL)
    done = followed(cli)
    assert done.code == ExitCode.ROLLED_BACK == 8
    why = "checkout: 60 of 200 users with the feature failed, and 2 of 200 without, 30.0 times as many"
    assert f"fader: {flag} is ROLLED BACK, from step 1 of 2, 50 %: {why}" in done.err
    assert "✗ 50 %  · 100 %" in done.out
    assert re.search(r"with the feature +60 of +200 +30.00 % +30.0 times as many", done.out)
    assert re.search(r"without +2 of +200 +1.00 %", done.out)
    assert re.search(r"evidence of harm  (over )?[0-9,]+:1   turns back at 20:1", done.out)
    assert "no SDK is connected in production" in done.out
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False
    history = cli.ok("history", flag, *PRODUCTION, "-n", "2")
    assert f"ramp ROLLED BACK from step 1 of 2, 50 % by ramp  “{why}”" in history
    assert re.search(r"~ checkout; evidence of harm (over )?[0-9,]+:1", history)
    assert "off by ramp" in history


def test_what_does_no_harm_is_released(cli: Cli, flag: str, report: Callable[..., None]) -> None:
    started(cli, "--every", "0s", "--bake", "0s", "--guard", "checkout", steps="50%")
    report(*HEALTHY)
    done = followed(cli)
    assert done.code == 0
    assert f"{flag} in production is released: 50 % of users have it" in done.out
    assert "ramp released by ramp\n" in cli.ok("history", flag, *PRODUCTION, "-n", "1")


def test_a_guard_may_hold_it_and_people_decide(cli: Cli, flag: str, report: Callable[..., None]) -> None:
    started(cli, "--guard", "checkout:hold")
    report(*HARMFUL)
    done = followed(cli)
    assert done.code == ExitCode.HELD == 9
    assert f"`fader ramp resume {flag} -e production` goes on" in done.err
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is True
    assert "is in step 1 of 2" in cli.ok("ramp", "resume", flag, *PRODUCTION)


def test_who_switches_off_ends_it_for_whoever_follows(cli: Cli, flag: str) -> None:
    started(cli)
    following = cli.start("ramp", "status", flag, *PRODUCTION, "--follow")
    try:
        assert following.stdout is not None
        assert "is in step 1 of 2, 50 %, until" in following.stdout.readline()
        cli.ok("off", flag, *PRODUCTION, "--reason", "INC-731")
        out, err = following.communicate(timeout=PATIENCE)
    finally:
        following.kill()
        following.communicate()
    assert following.returncode == ExitCode.ABORTED == 10
    assert "it was aborted at step 1 of 2, 50 %: switched off by " in err
    assert "INC-731" in out
    assert "ramp aborted in step 1 of 2, 50 % by" in cli.ok("history", flag, *PRODUCTION, "-n", "2")


def test_who_stops_following_leaves_it_as_it_is(cli: Cli, flag: str) -> None:
    following = cli.start("ramp", flag, "50%,100%", *PRODUCTION, "--follow")
    try:
        assert following.stdout is not None
        wait_for(lambda: "at the earliest" in following.stdout.readline() if following.stdout else "", "the ramp")
        wait_for(lambda: re.match(r"\d\d:", following.stdout.readline()) if following.stdout else "", "its following")
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=PATIENCE)
    finally:
        following.kill()
        following.communicate()
    assert following.returncode == ExitCode.INTERRUPTED
    assert "the ramp goes on by itself" in err
    assert status(cli)["status"] == "running"


def test_documents_come_one_by_one(cli: Cli, flag: str, report: Callable[..., None]) -> None:
    following = cli.start("ramp", flag, "50%,100%", *PRODUCTION, "--guard", "checkout", "--follow", "--json")
    try:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["status"] == "running"
        report(*HARMFUL)
        out, err = following.communicate(timeout=PATIENCE)
    finally:
        following.kill()
        following.communicate()
    documents = [json.loads(line) for line in out.splitlines()]
    assert documents[-2]["status"] == "rolled_back"
    assert documents[-1]["acknowledged"]["reached"] is True
    assert json.loads(err)["error"]["exit_code"] == following.returncode == ExitCode.ROLLED_BACK


def test_people_pause_approve_and_send_it_on(cli: Cli, flag: str) -> None:
    started(cli, "--every", "0s", "--approve", "100%")
    assert "is PAUSED in step 1 of 2" in cli.ok("ramp", "pause", flag, *PRODUCTION, "-m", "lunch")
    assert "goes up by the clock alone" in cli.ok("ramp", "resume", flag, *PRODUCTION)
    wait_for(lambda: status(cli)["why"] == "waiting for approval", "the end of the step")
    assert "· 100 % on approval" in cli.ok("ramp", "status", flag, *PRODUCTION)
    assert "· 100 %, approved" in cli.ok("ramp", "approve", flag, *PRODUCTION, "-m", "fine")
    assert followed(cli).code == 0
    history = cli.ok("history", flag, *PRODUCTION)
    for said in ("ramp paused in step 1 of 2, 50 % by", "“lunch”", "ramp resumed", "ramp approved of", "“fine”"):
        assert said in history
    assert cli("ramp", "pause", flag, *PRODUCTION).code == ExitCode.NOT_FOUND


def test_it_can_be_sent_on_and_ended(cli: Cli, flag: str) -> None:
    started(cli)
    assert "is in step 2 of 2, 100 %" in cli.ok("ramp", "advance", flag, *PRODUCTION)
    assert "it was aborted at step 2 of 2" in cli.ok("ramp", "abort", flag, *PRODUCTION)
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is True
    refused = cli("ramp", flag, "1%", *PRODUCTION)
    assert refused.code == ExitCode.CONFLICT
    assert "the first step would take it away from all but 1 %" in refused.err
    cli.ok("off", flag, *PRODUCTION)
    started(cli)
    assert cli("ramp", flag, "1%", *PRODUCTION).code == ExitCode.CONFLICT
    cli.ok("ramp", "abort", flag, *PRODUCTION, "--off")
    assert cli.json("show", flag)["environments"]["production"]["enabled"] is False


@pytest.mark.parametrize(
    "change",
    [
        ("on", FLAG, "--at", "3%"),
        ("rollout", FLAG, "3%"),
        ("undo", FLAG),
        ("rule", "add", FLAG, "--if", "country is DE"),
        ("rule", "edit", FLAG, "RULE", "--rollout", "3%"),
        ("rule", "remove", FLAG, "RULE"),
    ],
    ids=lambda change: "-".join(change[:2]),
)
def test_to_change_the_flag_meanwhile_needs_force(cli: Cli, flag: str, change: tuple[str, ...]) -> None:
    rule = started(cli)["plan"]["rule"]
    command = [rule if word == "RULE" else word for word in change]
    done = cli(*command, *PRODUCTION)
    assert done.code == ExitCode.CONFLICT
    assert "is in a ramp in 'production'" in done.err
    assert "or add --force: then it is held" in done.err
    cli.ok(*command, *PRODUCTION, "--force")
    assert status(cli)["status"] == "held"
    assert "the flag was changed by" in cli.ok("ramp", "status", flag, *PRODUCTION)


def test_what_is_under_way_is_shown(cli: Cli, flag: str) -> None:
    assert "no ramps are under way" in cli.ok("ramp", "list")
    started(cli, steps="5%,100%")
    assert re.search(rf"{flag} +production +running +1 of 2, 5 %", cli.ok("ramp", "list"))
    assert [one["flag"] for one in cli.json("ramp", "list", *PRODUCTION)] == [flag]
    assert cli.json("ramp", "list", "-e", "staging") == []
    assert "ON 5 % in a ramp" in cli.ok("list")
    said = cli.ok("show", flag)
    assert f"its ramp is in step 1 of 2, 5 %  fader ramp status {flag} -e production" in said
    assert cli.json("show", flag)["ramps"]["production"]["status"] == "running"
    cli.ok("ramp", "abort", flag, *PRODUCTION)
    assert cli.json("ramp", "list") == []
    assert "aborted" in cli.ok("ramp", "list", "--all")
    assert "in a ramp" not in cli.ok("list")


def test_watch_tells_of_it(cli: Cli, flag: str) -> None:
    watching = cli.start("watch", *PRODUCTION, "-n", "3")
    try:
        assert watching.stderr is not None
        assert "watching" in watching.stderr.readline()
        started(cli, steps="5%,100%")
        cli.ok("ramp", "pause", flag, *PRODUCTION)
        out, _ = watching.communicate(timeout=PATIENCE)
    finally:
        watching.kill()
        watching.communicate()
    assert f"{flag} ramp started with step 1 of 2, 5 %" in out
    assert f"{flag} ramp paused in step 1 of 2, 5 %" in out


def test_following_goes_on_when_the_server_comes_back(
    unsigned: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, FADER_PROMETHEUS_URL="http://127.0.0.1:9") as server:  # where nobody listens
        monkeypatch.setenv("FADER_URL", server.url)
        monkeypatch.setenv("FADER_TOKEN", server.admin_token)
        unsigned.ok("create", FLAG)
        ramp = started(unsigned, "--guard", "checkout", "--prometheus", "up", "--min", "1")
        assert [(one["query"], one["min"], one["max"]) for one in ramp["plan"]["prometheus"]] == [("up", 1, None)]
        wait_for(lambda: status(unsigned)["prometheus"][0]["verdict"] != "ok", "the first answer")
        following = unsigned.start("ramp", "status", FLAG, *PRODUCTION, "--follow")
        try:
            assert following.stdout is not None
            assert following.stderr is not None
            assert "is in step 1 of 2" in following.stdout.readline()
            assert "prometheus: cannot measure" in following.stdout.readline()
            server.kill()
            assert "waiting for it, the ramp is kept there" in following.stderr.readline()
            server.start()
            assert "the server is back" in following.stderr.readline()
            reporter = Reporter(server)
            reporter.report(FLAG, *HARMFUL)
            reporter.close()
            out, _ = following.communicate(timeout=PATIENCE)
        finally:
            following.kill()
            following.communicate()
        assert following.returncode == ExitCode.ROLLED_BACK
        assert "60 of 200 users with the feature failed" in out
