"""Who has changed a flag can see who has it: each client says what it has applied or refused, and when it leaves."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdk_contract.answers import cut, respond, silence, stream
from sdk_contract.disk_copies import files
from sdk_contract.documents import (
    EPOCH,
    OTHER_EPOCH,
    change,
    change_event,
    event,
    flag,
    goodbye_event,
    snapshot,
    snapshot_event,
    tag,
)
from sdk_contract.exchange import Exchange
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import PATIENCE, eventually

Connect = Callable[..., SdkClient]

NO_FLAG = b'{"key": "lit", "enabled": "no"}'


def acks(server: ScriptedServer) -> list[dict[str, Any]]:
    return [request.json() for request in server.asked("ack")]


def applied(server: ScriptedServer) -> list[int]:
    return [ack["revision"] for ack in acks(server) if ack["applied"]]


def refused(server: ScriptedServer) -> list[int]:
    return [ack["revision"] for ack in acks(server) if not ack["applied"]]


def push_what_is_no_change(server: ScriptedServer, revision: int, event_id: str | None = None) -> None:
    bad = b'{"epoch": "%s", "since": 1, "revision": %d, "flags": {"lit": %s}}' % (EPOCH.encode(), revision, NO_FLAG)
    server.push(event("change", bad, event_id or f"{EPOCH}-{revision}"))


def test_what_was_applied_is_acknowledged(server: ScriptedServer, connect: Connect) -> None:
    client = connect(sdk_key="default:production.key-1")
    server.wait_for("ack", 1)
    server.change(flag("lit", False))
    first, second = server.wait_for("ack", 2)
    for request in (first, second):
        assert request.method == "POST"
        assert request.headers["content-type"].startswith("application/json")
        assert request.headers["authorization"] == "Bearer default:production.key-1"
        ack = request.json()
        assert (
            ack["instance"] == request.headers["fader-instance"] == server.asked("stream")[0].headers["fader-instance"]
        )
        assert 0 <= ack["held_ms"] < 20_000
        assert (ack["epoch"], ack["applied"], ack["node"]) == (EPOCH, True, "node-1")
    assert applied(server) == [1, 2]
    assert not client.is_enabled("lit")


def test_it_is_applied_when_it_is_acknowledged(server: ScriptedServer, connect: Connect) -> None:
    client = connect()
    for revision in range(2, 30):
        server.wait_for("ack", revision - 1)
        server.change(flag("lit", bool(revision % 2)))
        server.wait_for("ack", revision)
        assert client.revision == revision
    assert applied(server) == list(range(1, 30))


def test_revisions_that_come_together_are_acknowledged_together(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit")), 0), then_live=True))
    connect()
    server.wait_for("ack", 1)
    server.push(b"".join(change_event(change(n, n + 1, {"lit": flag("lit", bool(n % 2))}), 0) for n in range(1, 40)))
    eventually(lambda: applied(server)[-1:] == [40], "the last to be acknowledged")
    assert applied(server) == [1, 40]


def test_however_many_revisions_come_within_a_window_one_is_acknowledged(
    server: ScriptedServer, connect: Connect
) -> None:
    server.world.ack_within_ms = 3_600_000
    client = connect(timing={"ack_window": 3600})
    client.wait()
    for revision in range(2, 30):
        server.change(flag("lit", bool(revision % 2)))
        client.follows(revision)
    assert len(acks(server)) <= 1


def test_a_stream_that_resumes_with_nothing_new_is_not_acknowledged(server: ScriptedServer, connect: Connect) -> None:
    connect()
    server.wait_for("ack", 1)
    for _ in range(3):
        asked = len(server.asked("stream"))
        server.wait_for_streams(1)
        server.end_streams()
        server.wait_for("stream", asked + 1)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    server.wait_for("ack", 2)
    assert applied(server) == [1, 2]


def test_another_connection_that_tells_the_same_again_is_answered_again(
    server: ScriptedServer, connect: Connect
) -> None:
    again = stream(*[snapshot_event(snapshot(1, flag("lit")))] * 5, then_live=True)
    server.script("stream", again, again)
    connect()
    server.wait_for("ack", 1)
    server.node = "node-2"
    server.wait_for_streams(1)
    server.end_streams()
    server.wait_for("ack", 2)
    server.wait_for_streams(1)
    server.push(change_event(change(1, 2, {"lit": flag("lit", False)})))
    server.wait_for("ack", 3)
    assert [(ack["revision"], ack["node"]) for ack in acks(server)] == [(1, "node-1"), (1, "node-2"), (2, "node-2")]


def test_what_is_missed_is_acknowledged_with_what_resumes(server: ScriptedServer, connect: Connect) -> None:
    client = connect()
    server.wait_for("ack", 1)

    def change_thrice() -> None:
        for turn in range(3):
            server.change(flag("lit", bool(turn)))

    server.restart(change_thrice)
    client.follows(4)
    server.wait_for("ack", 2)
    assert applied(server) == [1, 4]


def test_a_client_names_the_node_that_it_comes_from(server: ScriptedServer, connect: Connect) -> None:
    connect()
    server.wait_for_streams(1)
    server.node = "node-2"
    server.end_streams()
    server.wait_for("stream", 2)
    server.wait_for_streams(1)
    server.node = None
    server.end_streams()
    server.wait_for("stream", 3)
    server.wait_for_streams(1)
    server.end_streams()
    server.wait_for("stream", 4)
    nodes = [request.headers.get("fader-node") for request in server.asked("stream")]
    assert nodes == [None, "node-1", "node-2", None]


def test_a_restored_database_is_acknowledged_by_its_epoch(server: ScriptedServer, connect: Connect) -> None:
    connect()
    server.wait_for("ack", 1)
    server.restart(lambda: server.world.begin_epoch(OTHER_EPOCH))
    server.wait_for("ack", 2)
    assert [(ack["epoch"], ack["revision"]) for ack in acks(server)] == [(EPOCH, 1), (OTHER_EPOCH, 1)]


# --- refused


def test_what_makes_no_sense_is_refused_by_its_id_and_what_was_held_stays(
    server: ScriptedServer, connect: Connect
) -> None:
    client = connect()
    server.wait_for("ack", 1)
    server.wait_for_streams(1)
    push_what_is_no_change(server, 2)
    refusal = server.wait_for("ack", 2)[1].json()
    error = refusal.pop("error")
    assert refusal == {
        "instance": server.asked("stream")[0].headers["fader-instance"],
        "epoch": EPOCH,
        "revision": 2,
        "applied": False,
        "node": "node-1",
    }
    assert 0 < len(error) <= 500
    assert client.is_enabled("lit")
    assert client.revision == 1


def test_what_is_no_json_is_refused_by_its_id(server: ScriptedServer, connect: Connect) -> None:
    connect()
    server.wait_for("ack", 1)
    server.wait_for_streams(1)
    server.push(event("snapshot", b"half an obj", f"{EPOCH}-5"))
    server.wait_for("ack", 2)
    assert refused(server) == [5]


@pytest.mark.parametrize("event_id", ["5", "", "a b-5", f"{EPOCH}-x", f"{EPOCH}-{10**40}", "\u2603-1"])
def test_an_id_that_is_no_version_is_not_repeated(server: ScriptedServer, connect: Connect, event_id: str) -> None:
    client = connect()
    server.wait_for("ack", 1)
    server.wait_for_streams(1)
    server.push(event("change", b"nonsense", event_id))
    server.wait_for("stream", 2)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    client.follows(2)
    server.wait_for("ack", 2)
    assert [(ack["revision"], ack["applied"]) for ack in acks(server)] == [(1, True), (2, True)]


def test_every_connection_that_brings_it_again_is_told_once(server: ScriptedServer, connect: Connect) -> None:
    bad = event("change", b'{"epoch": "", "revision": 2}', f"{EPOCH}-2")
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), bad), *[stream(bad)] * 3)
    connect()
    server.wait_for("ack", 5)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    eventually(lambda: applied(server)[-1:] == [2], "the end of the trouble")
    assert applied(server) == [1, 2]
    assert refused(server) == [2] * 4


def test_a_refusal_holds_nothing_of_what_was_sent(server: ScriptedServer, connect: Connect) -> None:
    connect()
    server.wait_for("ack", 1)
    server.wait_for_streams(1)
    bad = snapshot(5, flag("lit"))
    bad["segments"] = {"staff": {"key": "staff", "targeting_keys": ["private-user-1", 4711, "private-user-2"]}}
    server.push(snapshot_event(bad))
    refusal = server.wait_for("ack", 2)[1]
    assert not refusal.json()["applied"]
    for private in (b"private-user", b"staff"):
        assert private not in refusal.body


@pytest.mark.parametrize("weak", ["", "W/"])
def test_who_polls_refuses_too_and_once(server: ScriptedServer, connect: Connect, weak: str) -> None:
    client = connect(streaming=False, poll_interval=0.1)
    client.wait()
    body = b'{"project": "default", "flags": 5}'
    server.always("snapshot", respond(200, body, {"ETag": f'{weak}"{EPOCH}-9"'}))
    asked = len(server.asked("snapshot"))
    server.wait_for("ack", 1)
    server.wait_for("snapshot", asked + 5)
    assert [(ack["revision"], ack["applied"]) for ack in acks(server)] == [(9, False)]
    assert "node" not in acks(server)[0]
    assert client.is_enabled("lit")


def test_who_polls_acknowledges_nothing(server: ScriptedServer, connect: Connect) -> None:
    client = connect(streaming=False, poll_interval=0.1)
    client.wait()
    server.change(flag("lit", False))
    client.follows(2)
    client.close()
    assert not server.asked("ack")
    assert not server.asked("goodbye")


# --- in nobody's way


def test_an_acknowledgement_that_is_not_answered_is_given_up(server: ScriptedServer, connect: Connect) -> None:
    given_up = threading.Event()

    def never(exchange: Exchange) -> None:
        exchange.hold()
        given_up.set()

    server.script("ack", *[never] * 3)
    client = connect(timing={"ack_post": 0.2})
    server.wait_for("ack", 1)
    server.change(flag("lit", False))
    client.follows(2)
    assert given_up.wait(PATIENCE)
    assert not client.is_enabled("lit")
    eventually(lambda: applied(server)[-1] == 2 and len(acks(server)) >= 4, "the newest to get through")


def test_an_answer_that_drips_is_given_up(server: ScriptedServer, connect: Connect) -> None:
    def drips(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not exchange.client_is_gone():
            exchange.send(b"x")

    server.always("ack", drips)
    client = connect(timing={"ack_post": 0.2})
    server.wait_for("ack", 1)
    for revision in range(2, 5):
        server.change(flag("lit", bool(revision % 2)))
        client.follows(revision)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 405, 429, 500, 503])
def test_whatever_the_answer_flags_go_on(server: ScriptedServer, own_sdk: SdkProcess, status: int) -> None:
    server.always("ack", respond(status, headers={"Retry-After": "3600"}))
    server.always("goodbye", respond(status))
    client = own_sdk.create(server.url)
    server.wait_for("ack", 1)
    for revision in range(2, 5):
        server.change(flag("lit", bool(revision % 2)))
        client.follows(revision)
    client.close()
    assert own_sdk.logs() == []


@pytest.mark.parametrize("failure", [cut, respond(500), respond(503, headers={"Retry-After": "0"})])
def test_what_did_not_get_through_is_said_again(
    server: ScriptedServer, connect: Connect, failure: Callable[[Exchange], bool | None]
) -> None:
    server.script("ack", failure, failure)
    connect()
    server.wait_for("ack", 3)
    server.change(flag("lit", False))
    server.wait_for("ack", 4)
    assert applied(server) == [1, 1, 1, 2]


def test_an_older_server_is_asked_once_a_stream(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    server.node = None
    server.always("ack", respond(404))
    client = own_sdk.create(server.url)
    server.wait_for("ack", 1)
    for revision in range(2, 6):
        server.change(flag("lit", bool(revision % 2)))
        client.follows(revision)
    assert applied(server) == [1]
    server.end_streams()
    server.wait_for("stream", 2)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    server.wait_for("ack", 2)
    server.change(flag("lit", True))
    client.follows(7)
    client.close()
    assert applied(server) == [1, 6]
    assert not server.asked("goodbye")
    assert own_sdk.logs() == []


def test_what_only_streams_say_is_not_kept_on_disk(server: ScriptedServer, connect: Connect, folder: Path) -> None:
    server.world.ack_within_ms = 1
    client = connect(cache_dir=str(folder))
    client.wait()
    server.change(flag("lit", False))
    client.follows(2)
    client.close()
    (copy,) = files(folder)
    content = copy.read_bytes()
    assert b'"revision":2' in content
    assert b"ack_within_ms" not in content


@pytest.mark.parametrize("within", [-1, 0, 10**18])
def test_a_window_without_sense_does_no_harm(server: ScriptedServer, connect: Connect, within: int) -> None:
    server.world.ack_within_ms = within
    client = connect(timing={"ack_window": 0.2})
    server.wait_for("ack", 1)
    server.change(flag("lit", False))
    client.follows(2)
    eventually(lambda: applied(server) == [1, 2], "both to be acknowledged")


# --- goodbye


def test_closing_says_goodbye(server: ScriptedServer, connect: Connect) -> None:
    client = connect(usage=True)
    client.wait()
    client.is_enabled("lit")
    client.close()
    (goodbye,) = server.asked("goodbye")
    assert goodbye.method == "POST"
    assert goodbye.json() == {"instance": server.asked("stream")[0].headers["fader-instance"], "node": "node-1"}
    client.close()
    assert len(server.asked("goodbye")) == 1
    kinds = [request.kind for request in server.requests]
    assert kinds.index("goodbye") < kinds.index("usage")


def test_each_client_says_goodbye_for_itself(server: ScriptedServer, connect: Connect) -> None:
    clients = [connect() for _ in range(3)]
    assert all(client.wait() for client in clients)
    clients[1].close()
    (goodbye,) = server.asked("goodbye")
    server.wait_for_streams(2)
    for client in clients:
        client.close()
    said = [request.json()["instance"] for request in server.asked("goodbye")]
    assert said[0] == goodbye.json()["instance"]
    assert sorted(said) == sorted({request.headers["fader-instance"] for request in server.asked("stream")})


def test_a_process_that_ends_says_goodbye(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        clients = [sdk.create(server.url) for _ in range(2)]
        assert all(client.wait() for client in clients)
        sdk.exit()
    assert len(server.asked("goodbye")) == 2


def test_a_process_that_is_killed_does_not(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        assert sdk.create(server.url).wait()
        server.wait_for("ack", 1)
        server.wait_for_streams(1)
    server.wait_for_streams(0)
    eventually(lambda: server.open_connections == 0, "nobody left")
    assert not server.asked("goodbye")


def test_goodbye_is_said_between_streams_too(server: ScriptedServer, sdk: SdkProcess) -> None:
    """Its server has moved it on, or cannot be streamed from; the process is counted in all the same."""
    client = sdk.create(server.url)
    client.wait()
    server.always("stream", respond(503))
    server.push(goodbye_event(retry_ms=60_000))
    server.end_streams()
    server.wait_for_streams(0)
    client.close()
    assert len(server.asked("goodbye")) == 1


def test_who_only_ever_heard_an_older_server_says_nothing(server: ScriptedServer, sdk: SdkProcess) -> None:
    server.node = None
    server.always("ack", respond(404))
    client = sdk.create(server.url)
    client.wait()
    server.wait_for("ack", 1)
    client.close()
    assert not server.asked("goodbye")


@pytest.mark.parametrize("failure", [cut, silence, respond(500)])
def test_a_goodbye_that_fails_is_no_trouble(
    server: ScriptedServer, own_sdk: SdkProcess, failure: Callable[[Exchange], bool | None]
) -> None:
    server.always("goodbye", failure)
    client = own_sdk.create(server.url, usage=True, timing={"ack_post": 0.2})
    client.wait()
    client.is_enabled("lit")
    client.close()
    assert len(server.asked("goodbye")) == 1
    assert own_sdk.logs() == []
    # What is left of the time is for the counts.
    assert [request.json()["flags"] for request in server.asked("usage")] == [{"lit": {"on": 1}}]


def test_versions_are_those_of_the_stream(server: ScriptedServer, connect: Connect) -> None:
    """An acknowledgement names the revision as ``Last-Event-ID`` does, so that a server can compare the two."""
    connect()
    server.wait_for("ack", 1)
    server.wait_for_streams(1)
    server.end_streams()
    ack = acks(server)[0]
    assert server.wait_for("stream", 2)[1].since == tag(ack)
