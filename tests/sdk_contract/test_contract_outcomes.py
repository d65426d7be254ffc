"""Outcomes: recorded while a guard watches, reported soon and once, and never in anybody's way."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fader.outcomes import OutcomeReport, Outcomes
from sdk_contract.answers import cut, raw, respond, silence
from sdk_contract.documents import change_event, flag, guard
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient
from sdk_contract.waiting import eventually, stays

Connect = Callable[..., SdkClient]

RAMPED = flag("ramped", rules=[{"id": "half", "rollout": {"percentage": 50}}])
FIRST, SECOND = guard("r.0.errors", "payment", "half"), guard("r.1.errors", "payment", "half", hash_key="f" * 32)
USERS = [f"user-{number}" for number in range(40)]
SOON: dict[str, Any] = {"timing": {"outcomes_flush": 0.05}}
NEVER: dict[str, Any] = {"timing": {"outcomes_flush": 3600}}


@pytest.fixture(autouse=True)
def ramp(server: ScriptedServer) -> None:
    server.world.flags["ramped"] = RAMPED
    server.world.guards["ramped"] = [FIRST]


def tell(server: ScriptedServer, *guards: Any) -> None:
    """Begin another step, or end the ramp."""
    with server.lock:
        made = server.world.change({"ramped": RAMPED}) | {"guards": {"ramped": guards}}
        server.world.guards["ramped"] = list(guards)
        server.push(change_event(made))


def reports(server: ScriptedServer) -> dict[str, OutcomeReport]:
    """All distinct ones so far, by their ids."""
    posts = [msgspec.json.decode(request.body, type=OutcomeReport) for request in server.asked("outcomes")]
    return {post.id: post for post in posts}


def seen(server: ScriptedServer, identifier: str = "r.0.errors") -> Outcomes:
    """What a guard has seen, as the server merges it."""
    whole = Outcomes()
    for report in reports(server).values():
        whole = whole.merged(report.guards.get(identifier, Outcomes()))
    return whole


def total(outcomes: Outcomes) -> tuple[int, int]:
    """Users on both sides, and those of them who failed."""
    (treated, failed), (others, others_failed) = outcomes.treatment.counts(), outcomes.control.counts()
    return treated + others, failed + others_failed


def test_users_are_reported_on_their_sides(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**SOON)
    client.wait()
    client.record("payment", *USERS, value=2.5)
    client.record("payment", *USERS[:10], failed=True)
    eventually(lambda: total(seen(server)) == (40, 10), "all users")
    treated = sum(client.is_enabled("ramped", user) for user in USERS)
    assert seen(server).treatment.counts()[0] == treated
    eventually(lambda: seen(server).treatment.sums.count + seen(server).control.sums.count == 40, "all values")


def test_a_report_says_who_reports_and_nobody_else(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**NEVER, app="shop")
    client.wait()
    client.record("payment", "ada@example.com")
    client.close()
    (request,) = server.asked("outcomes")
    assert request.method == "POST"
    assert request.headers["content-type"].startswith("application/json")
    assert request.headers["authorization"].endswith("default:production.test-secret")
    (report,) = reports(server).values()
    assert report.app == "shop"
    assert report.instance == server.asked("stream")[0].headers["fader-instance"]
    assert b"ada" not in request.body


def test_what_nobody_watches_is_not_reported(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**SOON)
    client.wait()
    client.record("another", *USERS)
    stays(lambda: not server.asked("outcomes"), "no reports", 0.3)
    client.close()
    assert not server.asked("outcomes")


def test_guards_come_and_go_with_changes(server: ScriptedServer, connect: Connect) -> None:
    server.world.guards.clear()
    client = connect(**NEVER)
    client.wait()
    client.record("payment", *USERS[:10])
    tell(server, FIRST)
    client.follows(2)
    client.record("payment", *USERS[10:15])
    tell(server, SECOND)
    client.follows(3)
    client.record("payment", *USERS[15:30])
    server.change(flag("lit", False))
    client.follows(4)
    client.record("payment", *USERS[30:35])
    tell(server)
    client.follows(5)
    client.record("payment", *USERS[35:])
    client.close()
    assert total(seen(server)) == (5, 0)
    assert total(seen(server, "r.1.errors")) == (20, 0)


FAILURES = {"reset": cut, "closed": raw(b""), **{f"status {each}": respond(each) for each in (404, 429, 500, 503)}}


@pytest.mark.parametrize("how", FAILURES)
def test_a_report_that_failed_is_repeated_as_it_was(server: ScriptedServer, connect: Connect, how: str) -> None:
    """Whether it arrived cannot be known. Users may be told twice, but sums must not be added twice."""
    server.script("outcomes", FAILURES[how])
    client = connect(**SOON)
    client.wait()
    client.record("payment", *USERS[:9])
    first, second = server.wait_for("outcomes", 2)[:2]
    assert first.body == second.body
    client.record("payment", *USERS)
    eventually(lambda: total(seen(server)) == (40, 0), "all users")


@pytest.mark.parametrize("status", [400, 413])
def test_a_report_that_is_refused_is_not_repeated(server: ScriptedServer, connect: Connect, status: int) -> None:
    server.script("outcomes", respond(status))
    client = connect(**SOON)
    client.wait()
    client.record("payment", *USERS[:9])
    server.wait_for("outcomes")
    client.record("payment", *USERS[:5])
    first, second = server.wait_for("outcomes", 2)[:2]
    assert first.json()["id"] != second.json()["id"]


def test_a_server_that_never_answers_reports_holds_nothing_up(server: ScriptedServer, connect: Connect) -> None:
    server.always("outcomes", silence)
    client = connect(timing={"outcomes_flush": 0.1, "usage_post": 0.3})
    client.wait()
    client.record("payment", *USERS)
    server.wait_for("outcomes")
    server.change(flag("lit", False))
    client.follows(3 if server.world.revision == 3 else 2)
    assert client.close() < 3


def test_what_was_recorded_before_the_end_is_reported_at_the_end(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**NEVER)
    client.wait()
    client.record("payment", *USERS)
    client.close()
    assert total(seen(server)) == (40, 0)
    client.record("payment", "another")
    client.close()
    assert total(seen(server)) == (40, 0)
