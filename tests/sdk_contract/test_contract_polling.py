"""Polling: chosen by a setting, or because streams do not get through."""

import gzip
import json
from collections.abc import Callable

import pytest

from sdk_contract.answers import (
    cut,
    delimited_by_close,
    head,
    headers_then_silence,
    raw,
    respond,
    silence,
)
from sdk_contract.documents import OTHER_EPOCH, flag, flag_for_segment, segment, snapshot
from sdk_contract.exchange import Answer
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import stays

Connect = Callable[..., SdkClient]

OFTEN = {"streaming": False, "poll_interval": 0.1}


def test_version_is_named_from_the_second_request_on(server: ScriptedServer, connect: Connect) -> None:
    connect(**OFTEN)
    first, second, third = server.wait_for("snapshot", 3)[:3]
    assert "if-none-match" not in first.headers
    assert second.headers["if-none-match"] == '"0123abcd-1"'
    assert third.headers["if-none-match"] == '"0123abcd-1"'


def test_version_follows_what_was_fetched(server: ScriptedServer, connect: Connect) -> None:
    client = connect(**OFTEN)
    client.wait()
    server.change(flag("lit", False))
    client.follows(2)
    assert not client.is_enabled("lit")
    asked = len(server.asked("snapshot"))
    assert server.wait_for("snapshot", asked + 2)[-1].headers["if-none-match"] == '"0123abcd-2"'


def test_requests_share_one_connection(server: ScriptedServer, connect: Connect) -> None:
    connect(**OFTEN)
    requests = server.wait_for("snapshot", 4)
    assert len({request.connection for request in requests}) == 1


def test_polling_does_not_stream(server: ScriptedServer, connect: Connect) -> None:
    connect(**OFTEN)
    server.wait_for("snapshot", 3)
    assert not server.asked("stream")


def test_lower_revision_is_ignored_and_a_new_epoch_followed(server: ScriptedServer, connect: Connect) -> None:
    server.world.revision = 10
    client = connect(**OFTEN)
    client.wait()
    server.script("snapshot", *[respond(200, snapshot(9, flag("lit", False)))] * 2)
    asked = len(server.asked("snapshot"))
    server.wait_for("snapshot", asked + 3)
    assert client.revision == 10
    assert client.is_enabled("lit")
    server.world.begin_epoch(OTHER_EPOCH, 2)
    client.follows(2)


def test_large_snapshot_is_fetched_compressed(server: ScriptedServer, connect: Connect) -> None:
    members = [f"user-{number:08}" for number in range(200_000)]
    server.world.flags["big"] = flag_for_segment("big", "big")
    server.world.segments["big"] = segment("big", *members)
    client = connect(**OFTEN)
    client.follows(1)
    assert client.is_enabled("big", members[-1])


BROKEN: dict[str, Answer] = {
    "reset": cut,
    "cut in the middle": raw(head(200, {"Content-Length": "1000"}) + b'{"revision": 2'),
    "half an object": respond(200, json.dumps(snapshot(2)).encode()[:-5]),
    "empty": respond(200, b""),
    "a login page": respond(200, b"<html>Welcome to the hotel</html>", {"Content-Type": "text/html"}),
    "of the wrong schema": respond(200, {"revision": "two"}),
    "null": respond(200, b"null"),
    "not UTF-8": respond(200, b'{"epoch": "\xff"}'),
    "not gzip": respond(200, b"plain", {"Content-Encoding": "gzip"}),
    "half gzip": respond(200, gzip.compress(json.dumps(snapshot(2)).encode() * 50)[:-20], {"Content-Encoding": "gzip"}),
    "an unknown encoding": respond(200, b"???", {"Content-Encoding": "zebra"}),
    "unchanged though nothing is held": respond(304),
    "no content": respond(204),
    **{f"status {status}": respond(status) for status in (400, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_answer_is_tried_again(server: ScriptedServer, connect: Connect, how: str) -> None:
    server.script("snapshot", *[BROKEN[how]] * 2)
    client = connect(**OFTEN, timing={"slow_retry": 0.1})
    assert client.wait()
    assert client.is_enabled("lit")


@pytest.mark.parametrize("how", [how for how in BROKEN if "unchanged" not in how])
def test_broken_answer_later_keeps_what_is_held(server: ScriptedServer, connect: Connect, how: str) -> None:
    client = connect(**OFTEN, timing={"slow_retry": 0.1})
    client.wait()
    server.script("snapshot", *[BROKEN[how]] * 2)
    server.wait_for("snapshot", len(server.asked("snapshot")) + 2)
    assert client.is_enabled("lit")
    server.change(flag("lit", False))
    client.follows(2)


def test_answer_without_etag_and_without_length_is_read(server: ScriptedServer, connect: Connect) -> None:
    body = json.dumps(snapshot(6, flag("lit"))).encode()
    server.always("snapshot", delimited_by_close(body, {"Content-Type": "application/json"}))
    client = connect(**OFTEN)
    client.follows(6)
    server.always("snapshot", delimited_by_close(body.replace(b'"revision": 6', b'"revision": 7')))
    client.follows(7)


def test_silent_server_is_given_up(server: ScriptedServer, connect: Connect) -> None:
    server.script("snapshot", silence)
    assert connect(**OFTEN, timing={"connect": 0.2, "first_byte": 0.2}).wait()


NO_STREAMS: dict[str, Answer] = {
    "no answer": silence,
    "headers and no byte": headers_then_silence,
    **{f"status {status}": respond(status) for status in (406, 415, 501)},
}


@pytest.mark.parametrize("how", NO_STREAMS)
def test_where_streams_do_not_get_through_the_client_polls(server: ScriptedServer, connect: Connect, how: str) -> None:
    server.always("stream", NO_STREAMS[how])
    client = connect(poll_interval=0.1, timing={"connect": 0.2, "first_byte": 0.15, "slow_retry": 0.1})
    assert client.wait()
    server.change(flag("lit", False))
    client.follows(2)
    assert server.asked("snapshot")


def test_polling_client_tries_to_stream_again(server: ScriptedServer, connect: Connect) -> None:
    server.always("stream", respond(501))
    client = connect(poll_interval=0.1, timing={"stream_again": 0.3, "slow_retry": 0.1})
    assert client.wait()
    server.wait_for("snapshot", 2)
    server.always("stream", None)
    server.wait_for_streams(1)
    asked = len(server.asked("snapshot"))
    server.change(flag("lit", False))
    client.follows(2)
    # One poll may have been on its way when the stream began.
    stays(lambda: len(server.asked("snapshot")) <= asked + 1, "no more polls beside the stream", 0.4)


def test_stream_that_worked_once_is_not_given_up_for_polling(server: ScriptedServer, connect: Connect) -> None:
    client = connect(poll_interval=0.1)
    client.wait()
    server.script("stream", *[cut] * 6)
    server.end_streams()
    server.wait_for("stream", 8)
    server.wait_for_streams(1)
    server.change(flag("lit", False))
    client.follows(2)


def test_every_poll_is_one_request(server: ScriptedServer, sdk: SdkProcess) -> None:
    client = sdk.create(server.url, streaming=False, poll_interval=60)
    client.wait()
    stays(lambda: len(server.asked("snapshot")) == 1, "one request within a poll interval", 0.3)
    client.close()
