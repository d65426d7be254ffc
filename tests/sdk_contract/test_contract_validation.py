"""Data that are not what they should be: the client refuses them, keeps what it has, and asks again."""

import json
from collections.abc import Callable

import pytest

from sdk_contract.answers import delimited_by_close
from sdk_contract.documents import (
    EPOCH,
    Document,
    change,
    change_event,
    event,
    flag,
    snapshot,
    snapshot_event,
)
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient

Connect = Callable[..., SdkClient]

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "half an object": json.dumps(snapshot(2, flag("lit", False))).encode()[:-7],
    "an object and more": json.dumps(snapshot(2, flag("lit", False))).encode() + b"}",
    "not JSON": b"revision: 2",
    "not UTF-8": b'{"revision": 2, "epoch": "\xff\xfe\xfa"}',
    "half a character": '{"epoch": "\u2603'.encode()[:-1],
    "a NUL": b"\0",
    "endless nesting": b"[" * 50_000,
    "nested objects": b'{"flags":' * 20_000,
    "NaN": b"NaN",
}
FLAG_LIT = flag("lit", False)


def wrong(**fields: object) -> Document:
    """A document that fits both kinds of event but for these fields."""
    good = {**change(1, 2, {"lit": FLAG_LIT}), "project": "default", "environment": "production"}
    good |= fields
    return {name: value for name, value in good.items() if value is not ...}


def wrong_flag(**fields: object) -> Document:
    return wrong(flags={"lit": FLAG_LIT | fields})


SCHEMATIC: dict[str, object] = {
    "null": None,
    "a list": [],
    "text": "snapshot",
    "a number": 2,
    "an empty object": {},
    "no revision": wrong(revision=...),
    "a revision in text": wrong(revision="2"),
    "a revision with a fraction": wrong(revision=2.5),
    "a revision beyond all bounds": wrong(revision=10**400),
    "no epoch": wrong(epoch=...),
    "an epoch that is a number": wrong(epoch=12345678),
    "flags in a list": wrong(flags=[FLAG_LIT]),
    "a flag in text": wrong(flags={"lit": "off"}),
    "a flag without key": wrong(flags={"lit": {"enabled": False}}),
    "enabled in text": wrong_flag(enabled="no"),
    "a type of the future": wrong_flag(type="quaternion"),
    "rules in text": wrong_flag(rules="none"),
    "a rule in a list": wrong_flag(rules=[[]]),
    "a percentage in text": wrong_flag(rules=[{"rollout": {"percentage": "all"}}]),
    "a constraint without operator": wrong_flag(rules=[{"constraints": [{"attribute": "plan"}]}]),
    "a segment in text": wrong(segments={"members": "everyone"}),
}


@pytest.fixture
def client(server: ScriptedServer, connect: Connect) -> SdkClient:
    """Holds revision 1 of the world, in which ``lit`` is on."""
    client = connect()
    client.wait()
    server.wait_for_streams(1)
    return client


def assert_refused_and_asked_again(server: ScriptedServer, client: SdkClient, bad: bytes) -> None:
    server.push(bad)
    second = server.wait_for("stream", 2)[1]
    assert second.since == f"{EPOCH}-1"
    assert client.is_enabled("lit")
    server.wait_for_streams(1)
    server.change(flag("lit", False), flag("next"))
    client.follows(2)
    assert client.is_enabled("next")


@pytest.mark.parametrize("name", ["snapshot", "change"])
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_data_end_the_stream_and_nothing_else(
    server: ScriptedServer, client: SdkClient, name: str, what: str
) -> None:
    assert_refused_and_asked_again(server, client, event(name, MALFORMED[what], f"{EPOCH}-2"))


@pytest.mark.parametrize("name", ["snapshot", "change"])
@pytest.mark.parametrize("what", SCHEMATIC)
def test_data_of_the_wrong_schema_end_the_stream_and_nothing_else(
    server: ScriptedServer, client: SdkClient, name: str, what: str
) -> None:
    assert_refused_and_asked_again(server, client, event(name, json.dumps(SCHEMATIC[what]), f"{EPOCH}-2"))


@pytest.mark.parametrize("data", ["{", "", "\0", "null"])
def test_goodbye_needs_no_sensible_data(server: ScriptedServer, client: SdkClient, data: str) -> None:
    server.push(b"retry: 10\n" + event("goodbye", data))
    server.wait_for("stream", 2)
    assert client.is_enabled("lit")


@pytest.mark.parametrize("name", ["patch", "message", "Snapshot", "snapshot ", "", "\u00e9"])
@pytest.mark.parametrize("data", [json.dumps(snapshot(9)), "not JSON {", ""])
def test_unknown_events_are_ignored_and_the_stream_is_kept(
    server: ScriptedServer, client: SdkClient, name: str, data: str
) -> None:
    server.push(event(name, data, "whatever"))
    server.change(flag("next"))
    client.follows(2)
    assert len(server.asked("stream")) == 1


def test_event_without_a_name_is_ignored(server: ScriptedServer, client: SdkClient) -> None:
    server.push(b"data: {}\n\n")
    server.change(flag("next"))
    client.follows(2)
    assert len(server.asked("stream")) == 1


def test_unknown_kind_of_object_in_a_change_is_ignored_and_the_rest_applied(
    server: ScriptedServer, client: SdkClient
) -> None:
    server.push(change_event(change(1, 2, {"lit": flag("lit", False)}) | {"experiments": {"e": {"key": 1}}}))
    client.follows(2)
    assert not client.is_enabled("lit")
    assert len(server.asked("stream")) == 1


def test_half_a_change_is_never_applied(server: ScriptedServer, client: SdkClient) -> None:
    broken = change(1, 2, {"lit": flag("lit", False), "other": {"key": "other", "enabled": "perhaps"}})
    server.push(event("change", broken))
    server.wait_for("stream", 2)
    assert client.revision == 1
    assert client.is_enabled("lit")


@pytest.mark.parametrize("percentage", [-5, 101, 1e308, 10**30])
def test_percentages_out_of_range_harm_nobody(server: ScriptedServer, client: SdkClient, percentage: float) -> None:
    odd = flag("odd", rules=[{"id": "r", "rollout": {"percentage": percentage}}])
    server.push(change_event(change(1, 2, {"odd": odd, "next": flag("next")})))
    server.world.change({"odd": flag("odd"), "next": flag("next")})
    client.follows(2)
    client.evaluate("odd", default=False)
    assert client.is_enabled("lit")
    assert client.is_enabled("next")


X = [{"name": "a", "value": "x"}]


def ruled(operator: str, *values: str) -> Document:
    return {"rules": [{"id": "r", "constraints": [{"attribute": "a", "operator": operator, "values": values}]}]}


BROKEN_FLAGS: dict[str, Document] = {
    "no variants": {"type": "string", "off_variant": "gone"},
    "an off variant that is not there": {"type": "string", "variants": X, "off_variant": "gone"},
    "a rule with an unknown variant": {"rules": [{"id": "r", "variant": "gone"}]},
    "a split without weights": {"rules": [{"id": "r", "split": {"variants": []}}]},
    "negative weights": {"rules": [{"id": "r", "split": {"variants": [{"variant": "on", "weight": -1}]}}]},
    "a variant of another type": {"type": "number", "variants": X, "off_variant": "a"},
    "itself as a prerequisite": {"prerequisites": [{"flag": "odd"}]},
    "a pattern that does not compile": ruled("matches", "("),
    "a network that is none": ruled("in_cidr", "300.0.0.0/99"),
    "no values": ruled("<"),
    "another key": {"key": "someone-else"},
    "an empty salt and no key": {"rules": [{"id": "r", "rollout": {"percentage": 50, "by": "", "salt": ""}}]},
}


@pytest.mark.parametrize("what", BROKEN_FLAGS)
def test_flag_that_makes_no_sense_breaks_only_itself(server: ScriptedServer, client: SdkClient, what: str) -> None:
    # Valid by schema, so a client may apply it or refuse it, but it must live on, and answer for the others.
    server.push(change_event(change(1, 2, {"odd": flag("odd") | BROKEN_FLAGS[what], "next": flag("next")})))
    server.world.change({"odd": flag("odd"), "next": flag("next")})
    client.follows(2)
    user = {"targeting_key": "user-1", "a": "b"}
    client.evaluate("odd", user, how="is_enabled")
    client.evaluate("odd", user, how="value")
    client.evaluate("odd", user)
    assert client.is_enabled("next")
    assert client.is_enabled("lit")


NEXT = json.dumps(change(1, 2, {"next": flag("next")}))
SPACE = NEXT.index(" ")
SPELLINGS: dict[str, str] = {
    "CRLF": f"event: change\r\ndata: {NEXT}\r\n\r\n",
    "CR": f"event: change\rdata: {NEXT}\r\r: a byte more\n",
    "no space after the colon": f"event:change\ndata:{NEXT}\n\n",
    "the name last": f"data: {NEXT}\nevent: change\n\n",
    "several lines of data": f"event: change\ndata: {NEXT[:SPACE]}\ndata: {NEXT[SPACE:]}\n\n",
    "comments between": f": a\nevent: change\n:\n: b\ndata: {NEXT}\n: c\n\n",
    "fields of the future": f"event: change\npriority: 9\nnonsense\ndata: {NEXT}\n\n",
    "no id": f"event: change\ndata: {NEXT}\n\n",
    "a retry that is no number": f"retry: soon\nevent: change\ndata: {NEXT}\n\n",
    "empty events before": f"\n\n\nevent: change\n\ndata\n\nevent: change\ndata: {NEXT}\n\n",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_server_sent_events_is_read(server: ScriptedServer, client: SdkClient, spelling: str) -> None:
    server.push(SPELLINGS[spelling].encode())
    client.follows(2)
    assert client.is_enabled("next")


def test_byte_order_mark_at_the_start_of_the_stream_is_skipped(server: ScriptedServer, connect: Connect) -> None:
    body = b"\xef\xbb\xbf" + snapshot_event(snapshot(3, flag("lit")))
    server.script("stream", delimited_by_close(body, {"Content-Type": "text/event-stream"}))
    client = connect()
    client.wait()
    assert client.revision == 3


def test_event_of_very_many_lines_is_read_in_good_time(server: ScriptedServer, client: SdkClient) -> None:
    lines = b"\n".join(
        b"data: " + line for line in json.dumps(change(1, 2, {"next": flag("next")}), indent=1).encode().split(b"\n")
    )
    server.push(b"event: change\n" + b"data:\n" * 100_000 + lines + b"\n\n")
    client.follows(2)
    assert client.is_enabled("next")
