"""Counts of evaluations: right, sent once, bounded, private, and never in anybody's way."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sdk_contract.answers import cut, raw, respond, silence
from sdk_contract.documents import flag, flag_with_value
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually, stays

Connect = Callable[..., SdkClient]


def has_counted(server: ScriptedServer, total: int) -> bool:
    return sent(server)[0][("lit", "on")] == total


NEVER: dict[str, Any] = {"usage": True, "timing": {"usage_flush": 3600}}
SOON: dict[str, Any] = {"usage": True, "timing": {"usage_flush": 0.1}}


def sent(server: ScriptedServer) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """What all distinct posts so far add up to, as the server counts: a repeated id is ignored."""
    posts = {post["id"]: post for post in (request.json() for request in server.asked("usage"))}
    flags: Counter[tuple[str, str]] = Counter()
    unknown: Counter[str] = Counter()
    for post in posts.values():
        for key, variants in post.get("flags", {}).items():
            flags.update({(key, variant): count for variant, count in variants.items()})
        unknown.update(post.get("unknown", {}))
    return flags, unknown


def test_every_evaluation_is_counted_by_flag_and_variant(server: ScriptedServer, connect: Connect) -> None:
    server.world.flags["dark"] = flag("dark", False)
    server.world.flags["colour"] = flag_with_value("colour", "red")
    client = connect(**NEVER)
    client.wait()
    client.evaluate("lit", times=100, how="is_enabled")
    client.evaluate("lit", times=20, default=False, how="value")
    client.evaluate("lit", times=3, default=False)
    client.evaluate("dark", times=7, how="is_enabled")
    client.evaluate("colour", times=5, default="blue", how="value")
    client.evaluate("no-such-flag", times=4, how="is_enabled")
    client.close()
    flags, unknown = sent(server)
    assert flags == {("lit", "on"): 123, ("dark", "off"): 7, ("colour", "served"): 5}
    assert unknown == {"no-such-flag": 4}


def test_post_says_who_and_when_and_carries_the_key(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**NEVER, app="shop")
    client.wait()
    client.is_enabled("lit")
    client.close()
    request = server.asked("usage")[0]
    assert request.method == "POST"
    assert request.headers["content-type"].startswith("application/json")
    assert request.headers["authorization"].endswith("default:production.test-secret")
    post = request.json()
    assert post["app"] == "shop"
    assert post["instance"] == request.headers["fader-instance"] == server.asked("stream")[0].headers["fader-instance"]
    assert post["started"] <= post["ended"]
    assert len(post["id"]) >= 32


def test_counts_begin_anew_after_each_post_and_each_post_has_its_own_id(
    server: ScriptedServer, connect: Connect
) -> None:
    client = connect(**SOON)
    client.wait()
    total = 0
    for turn in range(1, 4):
        client.evaluate("lit", times=turn, how="is_enabled")
        total += turn
        eventually(partial(has_counted, server, total), f"{total} counted")
    ids = [request.json()["id"] for request in server.asked("usage")]
    assert len(set(ids)) == len(ids) >= 3


def test_nothing_is_posted_when_nothing_was_evaluated(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**SOON)
    client.wait()
    stays(lambda: not server.asked("usage"), "no empty posts", 0.4)
    client.close()
    assert not server.asked("usage")


FAILURES = {
    "reset": cut,
    "closed": raw(b""),
    **{f"status {status}": respond(status) for status in (408, 429, 500, 503)},
}


@pytest.mark.parametrize("how", FAILURES)
def test_failed_post_is_repeated_with_the_same_id(server: ScriptedServer, connect: Connect, how: str) -> None:
    """Whether the server counted the first one cannot be known, so the second must be recognisable as the
    same."""
    server.script("usage", FAILURES[how])
    client = connect(**SOON)
    client.wait()
    client.evaluate("lit", times=9, how="is_enabled")
    first, second = (request.json() for request in server.wait_for("usage", 2)[:2])
    assert first["id"] == second["id"]
    assert first["flags"] == second["flags"]
    client.evaluate("lit", times=2, how="is_enabled")
    eventually(lambda: sent(server)[0][("lit", "on")] == 11, "all counted once")
    server.wait_for("usage", 3)


@pytest.mark.parametrize("status", [200, 202, 204, 301, 400, 401, 403, 404, 405, 413, 429, 500, 503])
def test_whatever_the_answer_to_usage_flags_go_on(server: ScriptedServer, connect: Connect, status: int) -> None:
    server.always("usage", respond(status, headers={"Retry-After": "3600"}))
    client = connect(**SOON)
    client.wait()
    client.evaluate("lit", times=3, how="is_enabled")
    server.wait_for("usage")
    server.change(flag("lit", False))
    client.follows(2)
    assert not client.is_enabled("lit")


def test_server_that_takes_posts_and_never_answers_holds_nothing_up(server: ScriptedServer, connect: Connect) -> None:
    server.always("usage", silence)
    client = connect(usage=True, timing={"usage_flush": 0.1, "usage_post": 0.3})
    client.wait()
    client.evaluate("lit", times=3, how="is_enabled")
    server.wait_for("usage")
    server.change(flag("lit", False))
    client.follows(2)


def test_counts_of_unknown_flags_are_bounded_and_the_known_ones_still_arrive(
    server: ScriptedServer, connect: Connect
) -> None:
    client = connect(**NEVER)
    client.wait()
    for number in range(3_000):
        client.evaluate(f"user-typed-{number}-" + "x" * 100, how="is_enabled")
    client.evaluate("lit", times=5, how="is_enabled")
    client.close()
    flags, unknown = sent(server)
    assert flags == {("lit", "on"): 5}
    assert 0 < len(unknown) < 3_000
    assert all(len(request.body) < 1_048_576 for request in server.asked("usage"))


def test_counts_survive_an_outage_within_bounds(server: ScriptedServer, connect: Connect) -> None:
    server.always("usage", respond(503))
    client = connect(**SOON)
    client.wait()
    for _ in range(5):
        client.evaluate("lit", times=10, how="is_enabled")
        asked = len(server.asked("usage"))
        server.wait_for("usage", asked + 1)
    server.always("usage", None)
    client.evaluate("lit", times=1, how="is_enabled")
    eventually(lambda: sent(server)[0][("lit", "on")] == 51, "51 counted")


def test_nothing_about_users_leaves_the_application(server: ScriptedServer, connect: Connect) -> None:
    server.world.flags["secretive"] = flag("secretive", rules=[{"id": "r", "rollout": {"percentage": 50}}])
    client = connect(**NEVER)
    client.wait()
    user = {
        "targeting_key": "private-key-7",
        "email": "private@example.org",
        "plan": "private-plan",
        "ages": [4711],
    }
    for key in ("secretive", "no-such-flag"):
        client.evaluate(key, user, default="private-default", how="value")
        client.evaluate(key, user, default="private-default")
    client.close()
    everything = json.dumps([request.json() for request in server.asked("usage")])
    for request in server.requests:
        everything += request.target + json.dumps(dict(request.headers)) + request.body.decode("latin-1")
    assert "secretive" in everything
    for private in ("private-key-7", "private@example.org", "private-plan", "4711", "private-default"):
        assert private not in everything


def test_prerequisites_do_not_count_as_evaluations_of_their_own(server: ScriptedServer, connect: Connect) -> None:
    """Counts tell whether code still asks for a flag. A prerequisite is asked for by another flag, not by
    code."""
    server.world.flags["child"] = flag("child", prerequisites=[{"flag": "lit"}])
    client = connect(**NEVER)
    client.wait()
    client.evaluate("child", times=6, how="is_enabled")
    client.close()
    assert sent(server)[0] == {("child", "on"): 6}


@pytest.mark.parametrize("settings", [{"usage": False}, {"offline": True, "usage": True}])
def test_usage_can_be_turned_off(server: ScriptedServer, connect: Connect, settings: dict[str, Any]) -> None:
    client = connect(**settings, timing={"usage_flush": 0.1})
    client.wait(1)
    client.evaluate("lit", times=100, how="is_enabled")
    client.close()
    assert not server.asked("usage")


def test_usage_can_be_turned_off_by_the_environment(server: ScriptedServer) -> None:
    with SdkProcess({"FADER_USAGE": "0"}) as sdk:
        client = sdk.create(server.url, usage=None)
        client.wait()
        client.is_enabled("lit")
        client.close()
    assert not server.asked("usage")


@pytest.mark.parametrize("streaming", [True, False])
def test_counts_are_sent_when_the_process_ends(server: ScriptedServer, streaming: bool) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(server.url, streaming=streaming, **NEVER)
        client.wait()
        client.evaluate("lit", times=12, how="is_enabled")
        sdk.exit()
    assert sent(server)[0] == {("lit", "on"): 12}


def test_counts_of_several_threads_add_up(server: ScriptedServer, connect: Connect) -> None:
    client = connect(usage=True, timing={"usage_flush": 0.05})
    client.wait()
    client.evaluate("lit", times=5_000, threads=4, how="is_enabled")
    client.evaluate("lit", times=2_000, threads=4)
    client.close()
    assert sent(server)[0] == {("lit", "on"): 28_000}


def test_counts_of_several_clients_are_not_mixed_up(server: ScriptedServer, connect: Connect) -> None:
    clients = [connect(**NEVER, app=f"app-{number}") for number in range(3)]
    for number, client in enumerate(clients, 1):
        client.wait()
        client.evaluate("lit", times=number * 10, how="is_enabled")
    for client in clients:
        client.close()
    by_app = {request.json()["app"]: request.json()["flags"]["lit"]["on"] for request in server.asked("usage")}
    assert by_app == {"app-0": 10, "app-1": 20, "app-2": 30}
