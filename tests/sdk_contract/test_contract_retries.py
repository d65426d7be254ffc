"""After every kind of failure a client comes back: soon but never in a tight loop, slowly when refused, never
not at all."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from sdk_contract.answers import (
    cut,
    cut_inside_headers,
    delimited_by_close,
    drip,
    head,
    hold,
    raw,
    raw_on_stream,
    respond,
    silence,
    stream,
)
from sdk_contract.documents import HEARTBEAT, flag, goodbye_event, snapshot, snapshot_event
from sdk_contract.exchange import Answer, Exchange, Kind
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually, stays

Connect = Callable[..., SdkClient]

PASSING = [400, 408, 429, 500, 502, 503, 504]
"""Statuses that say: not now."""
REFUSALS = [401, 403, 404, 405]
"""Statuses that say: not you, not here. They can still change: a key is restored, a route is deployed."""

BROKEN: dict[str, Answer] = {
    "reset before the headers": cut,
    "reset inside the headers": cut_inside_headers,
    "closed without a byte": raw(b""),
    "not HTTP": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "binary noise": raw(bytes(range(256)) * 20),
    "headers without end": raw(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: x\r\n" * 300),
    "a header of a megabyte": raw(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 1_000_000 + b"\r\n\r\n"),
    "a login page": delimited_by_close(b"<html>Welcome to the hotel</html>", {"Content-Type": "text/html"}),
    "a negative length": raw(head(200, {"Content-Type": "text/event-stream", "Content-Length": "-5"})),
    "a broken chunk": raw(
        head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}) + b"zz\r\nhello\r\n"
    ),
    "a stream closed at once": stream(),
    "a stream reset at once": stream(cut),
    "a stream reset inside an event": stream(b"event: snapshot\nda", cut),
    "a stream that breaks its framing": stream(raw_on_stream(b"not a chunk\r\n")),
    "no content": respond(204),
    "an empty answer": respond(200, headers={"Content-Type": "text/event-stream"}),
    "not modified": respond(304),
}


@pytest.mark.parametrize("status", PASSING + REFUSALS)
def test_status_at_the_first_connect_is_retried(server: ScriptedServer, connect: Connect, status: int) -> None:
    server.script("stream", *[respond(status)] * 2)
    client = connect()
    assert client.wait()
    assert client.is_enabled("lit")
    assert len(server.asked("stream")) >= 3


@pytest.mark.parametrize("status", PASSING + REFUSALS)
def test_status_at_a_reconnect_is_retried_and_answers_go_on(
    server: ScriptedServer, connect: Connect, status: int
) -> None:
    client = connect()
    client.wait()
    server.script("stream", *[respond(status)] * 2)
    server.end_streams()
    server.wait_for("stream", 2)
    assert client.is_enabled("lit")
    server.change(flag("lit", False))
    client.follows(2)
    assert not client.is_enabled("lit")


@pytest.mark.parametrize("how", BROKEN)
def test_broken_answer_at_the_first_connect_is_retried(server: ScriptedServer, connect: Connect, how: str) -> None:
    server.script("stream", *[BROKEN[how]] * 2)
    client = connect()
    assert client.wait()
    assert client.is_enabled("lit")


@pytest.mark.parametrize("how", BROKEN)
def test_broken_answer_at_a_reconnect_is_retried_and_answers_go_on(
    server: ScriptedServer, connect: Connect, how: str
) -> None:
    client = connect()
    client.wait()
    server.script("stream", *[BROKEN[how]] * 2)
    server.end_streams()
    server.wait_for("stream", 2)
    assert client.is_enabled("lit")
    server.change(flag("lit", False))
    client.follows(2)


def test_stream_that_ends_by_the_close_of_the_connection_is_followed(server: ScriptedServer, connect: Connect) -> None:
    body = snapshot_event(snapshot(4, flag("lit")))
    server.script("stream", delimited_by_close(body, {"Content-Type": "text/event-stream"}))
    client = connect()
    eventually(lambda: client.ready, "data from a stream without framing")


def test_retries_are_never_a_tight_loop(server: ScriptedServer, connect: Connect) -> None:
    server.always("stream", cut)
    connect(timing={"backoff_first": 0.2, "backoff_longest": 60})
    server.wait_for("stream", 1)
    # Full jitter over 0.2, 0.4, 0.8 … s: on average three or four attempts a second at first, then ever
    # fewer.
    stays(lambda: len(server.asked("stream")) <= 15, "at most 15 attempts in 1.2 s", 1.2)


def test_streams_that_die_young_are_asked_for_ever_more_rarely(server: ScriptedServer, connect: Connect) -> None:
    server.always("stream", stream(snapshot_event(snapshot(1, flag("lit")))))
    connect(timing={"backoff_first": 0.1, "backoff_longest": 60})
    server.wait_for("stream", 2)
    stays(lambda: len(server.asked("stream")) <= 15, "at most 15 streams in 1.2 s", 1.2)


def test_healthy_stream_brings_retries_back_to_normal_speed(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", *[cut] * 5)
    server.always("stream", stream(lambda exchange: exchange.hold(0.1)))
    connect(timing={"backoff_first": 0.02, "backoff_longest": 600, "healthy": 0.02})
    # Nine more reconnects in a row would take a minute on average if each doubled the delay of the one
    # before.
    server.wait_for("stream", 15, within=15)


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("streaming", [True, False])
def test_refused_client_retries_slowly_and_for_ever(
    server: ScriptedServer, connect: Connect, status: int, streaming: bool
) -> None:
    kind: Kind = "stream" if streaming else "snapshot"
    server.always(kind, respond(status))
    client = connect(streaming=streaming, poll_interval=0.1, timing={"slow_retry": 0.3, "backoff_longest": 0.02})
    requests = server.wait_for(kind, 4)
    pauses = [second.at - first.at for first, second in pairwise(requests)]
    # Half jitter: never sooner than half of slow_retry. The rest of the margin is for the scheduler.
    assert min(pauses) > 0.1, pauses
    server.always(kind, None)
    assert client.wait()
    assert client.is_enabled("lit")


@pytest.mark.parametrize("streaming", [True, False])
def test_after_a_refusal_is_over_the_client_is_back_at_normal_speed(
    server: ScriptedServer, connect: Connect, streaming: bool
) -> None:
    kind: Kind = "stream" if streaming else "snapshot"
    server.script(kind, respond(401))
    if streaming:
        server.always("stream", stream(lambda exchange: exchange.hold(0.05)))
    timing = {"slow_retry": 1.5, "healthy": 0.02}
    connect(streaming=streaming, poll_interval=0.1, timing=timing)
    server.wait_for(kind, 2)
    # At the slow pace eight more would take six seconds at the very least.
    server.wait_for(kind, 10, within=5.5)


@pytest.mark.parametrize(
    ("form", "status", "streaming"), [("seconds", 429, True), ("seconds", 503, False), ("date", 503, True)]
)
def test_retry_after_is_honoured(
    server: ScriptedServer, connect: Connect, status: int, form: str, streaming: bool
) -> None:
    def answer(exchange: Exchange) -> bool | None:
        # A date has whole seconds only, so it takes two to be sure of one.
        later = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return respond(status, headers={"Retry-After": later})(exchange)

    kind: Kind = "stream" if streaming else "snapshot"
    server.script(kind, answer)
    client = connect(streaming=streaming, poll_interval=0.1)
    client.wait()
    first, second = server.asked(kind)[:2]
    assert second.at - first.at > 0.8


@pytest.mark.parametrize("later", ["86400", "Wed, 21 Oct 2099 07:28:00 GMT", "9" * 400])
def test_retry_after_has_a_limit(server: ScriptedServer, connect: Connect, later: str) -> None:
    server.script("stream", respond(503, headers={"Retry-After": later}))
    assert connect(timing={"retry_after_longest": 0.05}).wait()


@pytest.mark.parametrize("later", ["-5", "soon", "", "NaN", "Wed, 99 Foo 2099", "Wed, 21 Oct 1999 07:28:00 GMT"])
def test_retry_after_that_makes_no_sense_is_ignored(server: ScriptedServer, connect: Connect, later: str) -> None:
    server.script("stream", respond(503, headers={"Retry-After": later}))
    assert connect().wait()


def test_goodbye_moves_the_client_on_without_a_word_in_the_log(server: ScriptedServer) -> None:
    with SdkProcess() as sdk:
        client = sdk.create(server.url)
        client.wait()
        server.push(goodbye_event(retry_ms=20))
        server.end_streams()
        server.wait_for("stream", 2)
        server.wait_for_streams(1)
        server.change(flag("lit", False))
        client.follows(2)
        assert sdk.logs() == []


def test_goodbye_is_enough_even_if_the_server_never_closes(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), goodbye_event(10), hold))
    connect()
    server.wait_for("stream", 2)


def test_silence_longer_than_two_heartbeats_is_a_dead_connection(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), hold, heartbeat=0.2))
    client = connect()
    server.wait_for("stream", 2)
    server.change(flag("lit", False))
    client.follows(2)


def test_single_bytes_that_drip_in_are_signs_of_life(server: ScriptedServer, connect: Connect) -> None:
    last = snapshot_event(snapshot(2, flag("lit")))
    slowly = (drip(HEARTBEAT * 2, 0.1), drip(last, 0))
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), *slowly, heartbeat=1, then_live=True))
    client = connect()
    client.follows(2)
    assert len(server.asked("stream")) == 1


def test_event_that_never_ends_is_given_up(server: ScriptedServer, connect: Connect) -> None:
    """A peer that drips bytes must not hold a client for ever."""
    endless = drip(b"event: change\ndata: " + b"x" * 10_000, 0.05)
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), endless))
    client = connect(timing={"event": 0.4})
    server.wait_for("stream", 2)
    assert client.is_enabled("lit")
    server.change(flag("lit", False))
    client.follows(2)


def test_server_that_never_answers_is_given_up_and_tried_again(server: ScriptedServer, connect: Connect) -> None:
    server.script("stream", silence, stream(hold))
    client = connect(timing={"connect": 0.3, "first_byte": 0.3})
    server.wait_for("stream", 2)
    assert not client.ready


def test_server_restarted_a_hundred_times_loses_no_client(server: ScriptedServer, connect: Connect) -> None:
    client = connect(timing={"backoff_first": 0.002, "backoff_longest": 0.01})
    client.wait()
    for turn in range(100):
        asked = len(server.asked("stream"))
        server.restart(lambda turn=turn: server.change(flag("lit", bool(turn % 2))))  # type: ignore[misc]
        server.wait_for("stream", asked + 1)
    client.follows(101)
    assert client.is_enabled("lit")
    server.wait_for_streams(1)


def test_client_that_starts_before_the_server_finds_it_later(sdk: SdkProcess) -> None:
    server = ScriptedServer()
    server.world.flags["lit"] = flag("lit")
    server.stop()
    client = sdk.create(server.url, timing={"backoff_first": 0.02, "backoff_longest": 0.1})
    began = time.monotonic()
    assert not client.wait(0.2)
    assert time.monotonic() - began < 10
    server.restart()
    assert client.wait()
    client.close()
    server.stop()


def test_an_attempt_that_comes_to_nothing_leaves_no_connection_behind(server: ScriptedServer, connect: Connect) -> None:
    server.always("stream", silence)
    connect(timing={"first_byte": 0.1, "backoff_first": 30, "backoff_longest": 30})
    server.wait_for("stream")
    eventually(lambda: server.open_connections == 0, "the connection to be closed")
