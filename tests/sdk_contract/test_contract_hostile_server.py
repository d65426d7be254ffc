"""A server, or whoever sits in its place, that means harm: the process stays small, answers, and ends when
told."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import psutil
import pytest

from sdk_contract.answers import STREAM_HEADERS, chunk, head, respond, stream
from sdk_contract.documents import change, change_event, flag, snapshot, snapshot_event
from sdk_contract.exchange import Answer, Exchange
from sdk_contract.scripted_server import ScriptedServer
from sdk_contract.sdk_under_test import SdkClient, SdkProcess
from sdk_contract.waiting import eventually, stays

Connect = Callable[..., SdkClient]

MIB = 1024 * 1024


@pytest.fixture
def victim(own_sdk: SdkProcess, server: ScriptedServer) -> Iterator[SdkClient]:
    """A client in a process of its own that holds revision 1, and must still answer and end in the end."""
    client = own_sdk.create(server.url, timing={"slow_retry": 0.05})
    client.wait()
    yield client
    assert client.is_enabled("lit")
    client.close()
    own_sdk.exit()


def endless(first: bytes, again: bytes, encode: Callable[[bytes], bytes] = chunk) -> Answer:
    def answer(exchange: Exchange) -> None:
        exchange.send(first)
        portion = encode(again)
        while not exchange.server.stopping:
            exchange.send(portion)

    return answer


HEAD = head(200, STREAM_HEADERS)
BARRAGES: dict[str, Answer] = {
    "comments": endless(HEAD, b": heartbeat\n\n" * 1000),
    "empty lines": endless(HEAD, b"\n" * 10_000),
    "empty events": endless(HEAD, b"event: snapshot\n\n" * 1000),
    "unknown events": endless(HEAD, b"event: advert\ndata: buy\n\n" * 1000),
    "old changes": endless(HEAD, change_event(change(0, 1, {"lit": flag("lit", False)})) * 100),
    "old snapshots": endless(HEAD, snapshot_event(snapshot(1, flag("lit", False))) * 100),
    "retry lines": endless(HEAD, b"retry: 1\n" * 1000),
    "empty header lines": endless(b"HTTP/1.1 200 OK\r\n", b"X-Filler: x\r\n" * 1000, bytes),
}


@pytest.mark.parametrize("what", BARRAGES)
def test_barrage_does_not_grow_the_process(
    server: ScriptedServer, own_sdk: SdkProcess, victim: SdkClient, what: str
) -> None:
    process = psutil.Process(own_sdk.pid)
    before = process.memory_info().rss
    server.always("stream", BARRAGES[what])
    server.end_streams()
    server.wait_for("stream", 2)
    stays(lambda: process.memory_info().rss < before + 64 * MIB, "less than 64 MiB more", 0.5)


def test_snapshot_that_is_a_decompression_bomb_is_refused(server: ScriptedServer, own_sdk: SdkProcess) -> None:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # 31: in the format of gzip
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(400)) + packer.flush()
    server.always("snapshot", respond(200, bomb, {"Content-Encoding": "gzip"}))
    client = own_sdk.create(server.url, streaming=False, poll_interval=0.1)
    process = psutil.Process(own_sdk.pid)
    server.wait_for("snapshot", 2)
    assert process.memory_info().rss < 1024 * MIB
    assert not client.ready
    assert client.evaluate("lit", default="mine")["value"] == "mine"


def test_gzip_on_the_stream_that_was_not_asked_for_hurts_nobody(server: ScriptedServer, connect: Connect) -> None:
    squeezed = gzip.compress(snapshot_event(snapshot(3, flag("lit"))))
    headers = STREAM_HEADERS | {"Content-Encoding": "gzip"}
    server.script("stream", lambda exchange: exchange.send(head(200, headers) + chunk(squeezed) + b"0\r\n\r\n"))
    client = connect()
    assert client.wait()
    assert client.is_enabled("lit")


def test_headers_cannot_make_the_client_do_anything_else(server: ScriptedServer, connect: Connect) -> None:
    odd = {
        **STREAM_HEADERS,
        "Set-Cookie": "a=b; Path=/",
        "Fader-Heartbeat": "-1",
        "Refresh": "0; url=http://example.invalid",
        "X-\u00e9": "\u00e9\u00ff",
    }
    server.script("stream", lambda exchange: exchange.send(head(200, odd) + chunk(b": hi\n\n") + b"0\r\n\r\n"))
    client = connect()
    assert client.wait()
    assert "cookie" not in server.asked("stream")[1].headers


@pytest.mark.parametrize("interval", ["-1", "0", "soon", "", "NaN", "inf", "1e400", "999999999999", "0x10"])
def test_heartbeat_intervals_that_make_no_sense_are_not_followed(
    server: ScriptedServer, connect: Connect, interval: str
) -> None:
    first = chunk(snapshot_event(snapshot(1, flag("lit"))))

    def answer(exchange: Exchange) -> None:
        exchange.send(head(200, STREAM_HEADERS | {"Fader-Heartbeat": interval}) + first)
        exchange.hold()

    server.script("stream", answer)
    client = connect()
    assert client.wait()
    # Neither a tight loop of reconnects nor an exception: 0 and below would call every stream dead at once.
    stays(lambda: len(server.asked("stream")) <= 5, "few reconnects", 0.3)
    assert client.is_enabled("lit")


@pytest.mark.parametrize("retry", ["0", "1", "-1", "999999999999999999", "9" * 5000, "1.5", "\u0661\u0662"])
def test_retry_fields_that_make_no_sense_are_not_followed(server: ScriptedServer, connect: Connect, retry: str) -> None:
    event = f"retry: {retry}\nevent: goodbye\ndata: {{}}\n\n".encode()
    server.script("stream", stream(snapshot_event(snapshot(1, flag("lit"))), event))
    connect()
    server.wait_for("stream", 2)


def test_flags_named_like_the_inside_of_python_are_only_flags(server: ScriptedServer, connect: Connect) -> None:
    names = ["__class__", "__dict__", "None", "..", "\u0000", "x" * 10_000, "\U0001f39a", " "]
    server.world.flags |= {name: flag(name) for name in names}
    client = connect()
    client.wait()
    for name in names:
        assert client.is_enabled(name), name
    assert not client.is_enabled("__init__")


def test_chain_of_prerequisites_too_long_for_the_stack_breaks_only_itself(
    server: ScriptedServer, connect: Connect
) -> None:
    length = 1_000
    for number in range(length):
        parent = [{"flag": f"chain-{number + 1}"}]
        server.world.flags[f"chain-{number}"] = flag(f"chain-{number}", prerequisites=parent)
    server.world.flags["loop"] = flag("loop", prerequisites=[{"flag": "loop"}])
    client = connect()
    client.wait()
    for how in ("is_enabled", "value", "evaluate"):
        client.evaluate("chain-0", default=False, how=how)
        client.evaluate("loop", default=False, how=how)
    assert client.is_enabled("lit")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a{1000}{1000}", "(" * 5000, "\\", "(?P<n>x)(?P=n)"])
def test_patterns_cannot_stall_an_evaluation(server: ScriptedServer, connect: Connect, pattern: str) -> None:
    constraint = {"attribute": "text", "operator": "matches", "values": [pattern]}
    server.world.flags["matching"] = flag("matching", rules=[{"id": "r", "constraints": [constraint]}])
    client = connect()
    client.wait()
    context = {"targeting_key": "user-1", "text": "a" * 5_000 + "!"}
    # Back-tracking over this takes longer than the universe has existed.
    assert client.evaluate("matching", context, default=False, how="value")["took"] < 10
    assert client.is_enabled("lit")


def test_numbers_at_the_edge_are_harmless(server: ScriptedServer, connect: Connect) -> None:
    for number, extreme in enumerate(["1e308", "-1e308", "1e400", "9" * 300, "-0.0", "1e-400"]):
        text = json.dumps(change(number + 1, number + 2, {"n": flag("n", rules=[])}))
        odd = text.replace('"rules": []', f'"rules": [{{"id": "r", "rollout": {{"percentage": {extreme}}}}}]')
        server.script("stream", stream(b"event: change\ndata: " + odd.encode() + b"\n\n"))
    client = connect()
    eventually(lambda: len(server.asked("stream")) >= 7, "all of them heard")
    assert client.wait()
    client.evaluate("n", default=False)
    assert client.is_enabled("lit")
