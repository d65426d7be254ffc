"""Servers that move ramps by what applications report: up by themselves, and down by themselves."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fader.outcomes import Arm, Outcomes
from processes import ServerProcess, running_server, wait_for
from ramped_flags import begun, path, ramp, step, until
from reporting import Reporter, arm
from services.postgres import PostgresDatabases

LEADS = '"lease": "ramps"'
"""What is in the log of a server that has begun to move ramps."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    variables = {}
    if request.param == "postgresql":
        postgres: PostgresDatabases = request.getfixturevalue("postgres")
        variables["DATABASE_URL"] = postgres.create_database()
    with running_server(tmp_path_factory.mktemp("ramps") / "server", **variables) as server:
        yield server


@pytest.fixture(scope="module")
def reporter(server: ServerProcess) -> Iterator[Reporter]:
    with closing(Reporter(server)) as reporter:
        yield reporter


def test_a_healthy_release_goes_up_by_itself(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(server, step(10), step(50), step(100, exposed=0))
    reporter.report(flag, (20, 0), (180, 2))
    until(server, flag, lambda now: now["step"] == 2)
    reporter.report(flag, (50, 0), (50, 1), step=1)
    found = until(server, flag, lambda now: now["status"] == "released")
    assert found["percentage"] == 100
    wait_for(lambda: flag not in reporter.snapshot().get("guards", {}), "SDKs to record nothing any more")
    assert reporter.snapshot()["flags"][flag]["enabled"]
    history = server.admin.ok("GET", f"/projects/default/changes?flag={flag}&environment=production")["items"]
    assert [(change["kind"], change["action"], change["actor"]) for change in history] == [
        ("ramp", "released", "ramp"),
        ("ramp", "running", "ramp"),
        ("flag", "rollout", "ramp"),
        ("ramp", "running", "ramp"),
        ("flag", "rollout", "ramp"),
        ("ramp", "started", "initial"),
        ("flag", "on", "initial"),
        ("flag", "created", "initial"),
    ]


def test_a_harmful_one_comes_down_in_the_middle_of_its_step(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(server, step(10, seconds=3600), step(100))
    reporter.report(flag, (20, 0), (180, 1))
    reporter.report(flag, (40, 20), (360, 2))
    found = until(server, flag, lambda now: now["status"] == "rolled_back")
    why = "checkout: 20 of 40 users with the feature failed, and 2 of 360 without, 90.0 times as many"
    assert found["why"] == why
    [guard] = found["guards"]
    assert guard["verdict"] == "worse"
    assert guard["e_value"] > guard["threshold"] == pytest.approx(20)
    assert guard["looks"][-1]["treatment"] == {"exposed": 40, "failed": 20}
    assert not reporter.snapshot()["flags"][flag].get("enabled", False)
    newest, off, *_ = server.admin.ok("GET", f"/projects/default/changes?flag={flag}&environment=production")["items"]
    assert (off["action"], off["actor"], off["reason"]) == ("off", "ramp", why)
    assert (newest["kind"], newest["action"]) == ("ramp", "rolled_back")
    assert newest["after"]["found"][0]["verdict"] == "worse"


def test_a_report_that_comes_twice_counts_once(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(server, step(10, seconds=3600))
    [guard] = reporter.guards(flag)
    for _ in range(3):
        assert reporter.send(guard["id"], Outcomes(of_nobody=7), "the same").status == 202
    reporter.report(flag, (30, 1), (270, 2))
    until(server, flag, lambda now: now["guards"][0]["treatment"]["exposed"] > 0)
    assert reporter.send(guard["id"], Outcomes(of_nobody=7), "the same").status == 202
    reporter.report(flag, (30, 1), (270, 2))
    reporter.report(flag, (31, 1), (270, 2))
    found = until(server, flag, lambda now: now["guards"][0]["treatment"]["exposed"] > 30)
    assert found["guards"][0]["treatment"] == {"exposed": 31, "failed": 1}
    assert found["guards"][0]["control"] == {"exposed": 270, "failed": 2}
    assert found["guards"][0]["of_nobody"] == 7


def test_what_is_of_another_step_or_another_ramp_is_left_out(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(server, step(10, seconds=3600), step(50, seconds=3600))
    [old] = reporter.guards(flag)
    server.admin.ok("POST", path(flag, "/advance"))
    harm = Outcomes(treatment=arm("user", 50, 50), control=arm("user", 50, 0))
    for guard in (old["id"], "none.0.checkout", f"{ramp(server, flag)['id']}.1.none", "checkout", "a.b.c"):
        assert reporter.send(guard, harm).status == 202
    with closing(Reporter(server, "staging")) as elsewhere:
        [present] = reporter.guards(flag, step=1)
        assert elsewhere.send(present["id"], harm).status == 202
    reporter.report(flag, (11, 0), (11, 0), step=1)
    found = until(server, flag, lambda now: now["guards"][0]["treatment"]["exposed"] == 11)
    assert found["guards"][0]["treatment"]["failed"] == 0


def test_what_is_no_sketch_is_refused(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(server, step(10))
    [guard] = reporter.guards(flag)
    answer = reporter.send(guard["id"], Outcomes(treatment=Arm(exposed=b"\x01short")))
    assert answer.status == 422
    assert guard["id"] in answer.json()["detail"]


def test_off_by_hand_wins_over_everything(server: ServerProcess, reporter: Reporter) -> None:
    flag = begun(
        server, step(1, seconds=0), step(2, seconds=0), *(step(10 * share, seconds=0) for share in range(1, 9))
    )
    reporter.report(flag, (20, 0), (180, 2))
    server.admin.verb(flag, "off", {"reason": "now"})
    found = ramp(server, flag)
    assert found["status"] in ("aborted", "released")
    assert not reporter.snapshot()["flags"][flag].get("enabled", False)


def test_silence_is_no_success(server: ServerProcess) -> None:
    flag = begun(server, step(10, seconds=0.1), step(100))
    found = until(server, flag, lambda now: "waiting for checkout to see 10 users" in now["why"])
    assert (found["status"], found["step"]) == ("running", 1)


def test_somebody_may_have_to_approve(server: ServerProcess) -> None:
    flag = begun(server, step(10, seconds=0.1) | {"needs_approval": True}, step(100, seconds=3600), guards=())
    until(server, flag, lambda now: now["why"] == "waiting for approval")
    server.admin.ok("POST", path(flag, "/approve"), {"reason": "looks fine"})
    until(server, flag, lambda now: now["step"] == 2)


def test_a_ramp_goes_on_after_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path / "server") as server, closing(Reporter(server)) as reporter:
        flag = begun(server, step(10), step(50), step(100, exposed=0))
        reporter.report(flag, (20, 0), (180, 2))
        until(server, flag, lambda now: now["step"] == 2)
        before = ramp(server, flag)
        server.restart()
        assert ramp(server, flag)["id"] == before["id"]
        reporter.report(flag, (50, 0), (50, 1), step=1)
        until(server, flag, lambda now: now["status"] == "released")


def test_another_node_takes_over_from_one_that_is_killed(tmp_path: Path, postgres: PostgresDatabases) -> None:
    shared = {"DATABASE_URL": postgres.create_database(), "FADER_POLL_SECONDS_WITHOUT_BUS": "0.2"}
    first = ServerProcess(tmp_path / "first", shared)
    second = first.sibling(tmp_path / "second")
    shares = (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    try:
        first.start()
        second.start()
        flag = begun(first, *(step(share, seconds=1) for share in shares), guards=())
        until(first, flag, lambda now: now["step"] == 3)
        leader = first if LEADS in first.log.read_text() else second
        other = second if leader is first else first
        assert LEADS not in other.log.read_text()
        leader.kill()
        until(other, flag, lambda now: now["status"] == "released")
        assert LEADS in other.log.read_text()
        history = other.admin.ok("GET", f"/projects/default/changes?flag={flag}&environment=production")["items"]
        rolled = [
            change["after"]["rules"][0]["rollout"]["percentage"]
            for change in history
            if change["action"] in ("on", "rollout")
        ]
        assert rolled[::-1] == list(shares), "a step was left out, or done twice"
    finally:
        first.close()
        second.close()
