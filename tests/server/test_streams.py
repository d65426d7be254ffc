"""The SDK API over real sockets: first everything, then every change, without a gap, for as long as both sides live."""

import contextlib
import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("streams")
    with running_server(folder, FADER_HEARTBEAT_SECONDS="0.2", FADER_POLL_SECONDS="0.5") as server:
        yield server


@pytest.fixture
def flag(server: ServerProcess) -> str:
    key = f"flag-{uuid.uuid4().hex[:8]}"
    made = server.admin.create_flag(key)
    revision = made["environments"]["production"]["revision"]
    wait_for(lambda: get(server, "/sdk/v1/snapshot").json()["revision"] >= revision, "the flag to be served")
    return key


@pytest.fixture
def opened(server: ServerProcess) -> Iterator[Callable[..., RawStream]]:
    streams: list[RawStream] = []

    def open_stream(**named: Any) -> RawStream:
        streams.append(RawStream(server, **named))
        return streams[-1]

    yield open_stream
    for stream in streams:
        stream.close()


def get(server: ServerProcess, path: str, key: str | None = None, **headers: str) -> urllib3.BaseHTTPResponse:
    sent = {"Authorization": f"Bearer {key or server.sdk_key()}", **headers}
    return urllib3.request("GET", f"{server.url}{path}", headers=sent, retries=False, timeout=PATIENCE)


def test_a_stream_begins_with_everything(server: ServerProcess, flag: str, opened: Callable[..., RawStream]) -> None:
    stream = opened()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["transfer-encoding"] == "chunked"
    assert float(stream.headers["fader-heartbeat"]) == 0.2
    assert stream.chunk().startswith(b":")  # a first byte at once
    name, snapshot = stream.event()
    assert name == "snapshot"
    assert snapshot["environment"] == "production"
    assert flag in snapshot["flags"]
    assert snapshot["flags"][flag].get("enabled", False) is False


def test_each_change_comes_once_and_in_order(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream]
) -> None:
    stream = opened()
    _, snapshot = stream.event()
    for verb in ("on", "off") * 5:
        server.admin.verb(flag, verb)
    for number in range(1, 11):
        name, change = stream.event()
        assert name == "change"
        assert change["since"] == snapshot["revision"] + number - 1
        assert change["revision"] == snapshot["revision"] + number
        assert list(change["flags"]) == [flag]
        assert change["flags"][flag].get("enabled", False) is (number % 2 == 1)


def test_a_change_costs_its_own_size(server: ServerProcess, opened: Callable[..., RawStream]) -> None:
    for number in range(50):
        server.admin.create_flag(f"many-{number}-{uuid.uuid4().hex[:6]}", description="x" * 500)
    stream = opened()
    stream.event()
    key = f"one-{uuid.uuid4().hex[:6]}"
    made = server.admin.create_flag(key)
    _, change = stream.follow(made["environments"]["production"]["revision"])[-1]
    assert list(change["flags"]) == [key]
    assert len(json.dumps(change)) < 300


def test_other_environments_are_not_bothered(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream]
) -> None:
    staging = opened(key=server.sdk_key("staging"))
    staging.event()
    server.admin.verb(flag, "on", environment="production")
    server.admin.verb(flag, "rollout", {"percentage": 7}, environment="staging")
    _, change = staging.event()
    assert change["flags"][flag]["rules"][0]["rollout"]["percentage"] == 7


@pytest.mark.parametrize("asks_by", ["header", "query"])
def test_a_stream_resumes_with_what_it_missed(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream], asks_by: str
) -> None:
    _, snapshot = opened().event()
    version = f"{snapshot['epoch']}-{snapshot['revision']}"
    server.admin.verb(flag, "on")
    revision = server.admin.verb(flag, "rollout", {"percentage": 30})["revision"]
    if asks_by == "header":
        resumed = opened(headers={"Last-Event-ID": version})
    else:
        resumed = opened(path=f"/sdk/v1/stream?since={version}")
    events = resumed.follow(revision)
    assert [name for name, _ in events] == ["change"] * len(events)
    assert [change["since"] for _, change in events] == [
        snapshot["revision"],
        *(change["revision"] for _, change in events[:-1]),
    ]
    _, change = events[-1]
    assert change["flags"][flag]["enabled"] is True
    assert change["flags"][flag]["rules"][0]["rollout"]["percentage"] == 30


def test_who_is_up_to_date_gets_nothing_but_what_comes(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream]
) -> None:
    _, snapshot = opened().event()
    resumed = opened(headers={"Last-Event-ID": f"{snapshot['epoch']}-{snapshot['revision']}"})
    server.admin.verb(flag, "on")
    name, change = resumed.event()
    assert (name, change["since"]) == ("change", snapshot["revision"])


@pytest.mark.parametrize("version", ["0000-1", "nonsense", "{epoch}-999999", "{epoch}--1", "{epoch}-1x", "ä-1"])
def test_who_asks_for_what_never_was_gets_everything(
    server: ServerProcess, opened: Callable[..., RawStream], version: str
) -> None:
    _, snapshot = opened().event()
    asked = version.format(epoch=snapshot["epoch"])
    name, _ = opened(headers={"Last-Event-ID": asked}).event()
    assert name == "snapshot"


def test_a_server_started_anew_answers_from_the_log(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream]
) -> None:
    _, snapshot = opened().event()
    server.admin.verb(flag, "on")
    server.restart()
    name, change = opened(headers={"Last-Event-ID": f"{snapshot['epoch']}-{snapshot['revision']}"}).event()
    assert name == "change"
    assert (change["since"], change["revision"]) == (snapshot["revision"], snapshot["revision"] + 1)


def test_no_reader_misses_or_repeats_a_revision_under_writes(
    server: ServerProcess, flag: str, opened: Callable[..., RawStream]
) -> None:
    """Streams are opened while others write: what each gets first and what it gets then must join on."""
    writing = threading.Event()

    def write() -> None:
        while not writing.is_set():
            server.admin.verb(flag, "on")
            server.admin.verb(flag, "off")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(25):
            stream = opened()
            _, snapshot = stream.event()
            held = snapshot["revision"]
            for _ in range(3):
                _, change = stream.event()
                assert change["since"] == held
                held = change["revision"]
    finally:
        writing.set()
        writer.join()


def test_a_quiet_stream_shows_that_it_lives(opened: Callable[..., RawStream]) -> None:
    stream = opened()
    stream.event()
    beats = b""
    while beats.count(b": heartbeat\n\n") < 2:
        beats += stream.chunk()


def test_who_leaves_is_forgotten(server: ServerProcess) -> None:
    def streams() -> int:
        answer = urllib3.request("GET", f"{server.url}/health/ready", retries=False)
        count: int = answer.json()["streams"]
        return count

    wait_for(lambda: streams() == 0, "earlier streams to be forgotten")
    open_ones = [RawStream(server) for _ in range(5)]
    wait_for(lambda: streams() == 5, "five streams")
    for stream in open_ones:
        stream.close()
    wait_for(lambda: streams() == 0, "nobody to be left")


def test_a_revoked_key_ends_its_streams_and_no_others(server: ServerProcess, opened: Callable[..., RawStream]) -> None:
    made = server.admin.ok("POST", "/projects/default/keys", {"name": "short", "environment": "production"})
    theirs, ours = opened(key=made["secret"]), opened()
    theirs.event()
    ours.event()
    server.admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
    assert [name for name, _ in theirs.rest()] == ["goodbye"]
    assert get(server, "/sdk/v1/stream", key=made["secret"]).status == 401
    assert not ours.is_over


def test_a_deleted_environment_ends_its_streams(server: ServerProcess, opened: Callable[..., RawStream]) -> None:
    server.admin.ok("POST", "/projects/default/environments", {"key": "brief"})
    made = server.admin.ok("POST", "/projects/default/keys", {"name": "brief", "environment": "brief"})
    stream = opened(key=made["secret"])
    stream.event()
    server.admin.ok("DELETE", "/projects/default/environments/brief")
    assert [name for name, _ in stream.rest()] == ["goodbye"]
    assert get(server, "/sdk/v1/snapshot", key=made["secret"]).status in {401, 404}


def test_an_archived_flag_is_gone_for_sdks(server: ServerProcess, flag: str, opened: Callable[..., RawStream]) -> None:
    stream = opened()
    stream.event()
    server.admin.ok("POST", f"/projects/default/flags/{flag}/archive")
    _, change = stream.event()
    assert change["flags"] == {flag: None}
    server.admin.ok("POST", f"/projects/default/flags/{flag}/unarchive")
    _, change = stream.event()
    assert change["flags"][flag]["key"] == flag


def test_the_snapshot_has_an_etag_and_is_compressed(server: ServerProcess, flag: str) -> None:
    answer = get(server, "/sdk/v1/snapshot")
    etag = answer.headers["ETag"]
    document = answer.json()
    assert etag == f'"{document["epoch"]}-{document["revision"]}"'
    raw = urllib3.request(
        "GET",
        f"{server.url}/sdk/v1/snapshot",
        headers={"Authorization": server.sdk_key(), "Accept-Encoding": "gzip"},  # the bare key will do, too
        decode_content=False,
        preload_content=True,
    )
    assert raw.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw.data)) == document
    for seen in (etag, f"W/{etag}", f'"other", {etag}'):
        again = get(server, "/sdk/v1/snapshot", **{"If-None-Match": seen})
        assert (again.status, again.data, again.headers["ETag"]) == (304, b"", etag)
    server.admin.verb(flag, "on")
    changed = wait_for(lambda: (a := get(server, "/sdk/v1/snapshot", **{"If-None-Match": etag})).status == 200 and a)
    assert changed.json()["flags"][flag]["enabled"] is True


def test_only_sdk_keys_open_the_door(server: ServerProcess) -> None:
    for path in ("/sdk/v1/snapshot", "/sdk/v1/stream"):
        unknown = get(server, path, key="default:production.unknown-secret-of-length")
        assert unknown.status == 401
        assert unknown.headers["Content-Type"].startswith("application/problem+json")
        assert get(server, path, key=server.admin_token).status == 403
        assert urllib3.request("GET", server.url + path, retries=False).status == 401
        posted = urllib3.request("POST", server.url + path, headers={"Authorization": server.sdk_key()}, retries=False)
        assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")


def usage_report(flag: str, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    counts = {"flags": {flag: {"on": 3, "off": 4}}, "unknown": {"no-such-flag": 1}}
    return {"id": str(uuid.uuid4()), "instance": "a", "app": "shop", "started": now, "ended": now, **counts, **more}


def test_usage_is_added_up_once(server: ServerProcess, flag: str) -> None:
    report = usage_report(flag)
    for _ in range(2):  # a report whose answer was lost is sent again, with the same id
        assert post_usage(server, report).status == 202
    assert post_usage(server, usage_report(flag)).status == 202
    usage = server.admin.ok("GET", f"/projects/default/flags/{flag}/usage?environment=production")
    assert {item["variant"]: item["count"] for item in usage["items"]} == {"on": 6, "off": 8}


def post_usage(server: ServerProcess, report: Any) -> urllib3.BaseHTTPResponse:
    body = report if isinstance(report, bytes) else json.dumps(report).encode()
    headers = {"Authorization": f"Bearer {server.sdk_key()}", "Content-Type": "application/json"}
    return urllib3.request("POST", f"{server.url}/sdk/v1/usage", body=body, headers=headers, retries=False)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"flags": {"a": {"on": -1}}}, "flags"),
        ({"flags": {"a": {"on": 1.5}}}, "flags"),
        ({"flags": []}, "flags"),
        ({"ended": "yesterday"}, "ended"),
        ({"id": ""}, "id"),
        ({"unknown": {str(n): 1 for n in range(20_001)}}, "flags"),
    ],
)
def test_a_broken_report_is_refused_by_field(server: ServerProcess, broken: dict[str, Any], field: str) -> None:
    answer = post_usage(server, usage_report("a", **broken))
    assert answer.status == 422, answer.data
    assert answer.json()["field"].startswith(field)


def test_a_stuck_reader_holds_up_nobody(server: ServerProcess, flag: str, opened: Callable[..., RawStream]) -> None:
    stuck, well = opened(), opened()
    well.event()
    big = [{"attribute": "x", "operator": "in", "values": ["y" * 900] * 900}]
    path = f"/projects/default/flags/{flag}/environments/production"
    for number in range(12):
        body = {"enabled": True, "rules": [{"id": "big", "constraints": big, "description": str(number)}]}
        server.admin.ok("PUT", path, body)
        assert well.event()[0] == "change"
    server.admin.verb(flag, "off")
    assert well.event()[1]["flags"][flag].get("enabled", False) is False
    with contextlib.suppress(OSError):
        stuck.socket.close()
