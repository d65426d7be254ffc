"""``GET /metrics`` of real servers: what is counted is what has happened."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from fader_server import __version__
from fader_server.telemetry.catalogue import CATALOGUE, Definition
from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from scraping import Scrape, get_metrics, scrape


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # One heartbeat in the life of this server, at most: what streams get is counted below.
    with running_server(tmp_path_factory.mktemp("metrics"), FADER_HEARTBEAT_SECONDS="60") as server:
        yield server


@pytest.fixture
def before(server: ServerProcess) -> Scrape:
    """What the server had said before the test did anything."""
    return scrape(server)


@pytest.fixture
def opened(server: ServerProcess) -> Iterator[Callable[..., RawStream]]:
    streams: list[RawStream] = []

    def open_stream(**named: Any) -> RawStream:
        streams.append(RawStream(server, **named))
        return streams[-1]

    yield open_stream
    for stream in streams:
        stream.close()


def request(server: ServerProcess, method: str, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request(method, f"{server.url}{path}", headers=headers, retries=False, timeout=PATIENCE)


def family_name(definition: Definition) -> str:
    """Parsers take the suffix of counters off."""
    return definition.name.removesuffix("_total") if definition.kind == "counter" else definition.name


def test_all_of_the_catalogue_is_exposed_and_nothing_else_is_ours(before: Scrape) -> None:
    ours = {name: family for name, family in before.families.items() if name.startswith("fader_")}
    assert ours.keys() == {family_name(definition) for definition in CATALOGUE}
    for definition in CATALOGUE:
        family = ours[family_name(definition)]
        assert family.type == definition.kind
        assert family.documentation == definition.meaning
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(definition.labels)


@pytest.mark.parametrize("definition", CATALOGUE, ids=lambda definition: definition.name)
def test_names_follow_the_conventions(definition: Definition) -> None:
    assert definition.name.startswith("fader_")
    assert definition.name.endswith("_total") == (definition.kind == "counter")
    if definition.kind == "histogram":
        assert definition.name.endswith("_seconds")
        assert list(definition.buckets) == sorted(set(definition.buckets))
    assert definition.meaning.endswith((".", "runs."))


@pytest.mark.parametrize(
    "accept",
    [
        # What Prometheus 2.42 sends, and what 3 does.
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
        "Application/OpenMetrics-Text",
    ],
)
def test_openmetrics_for_those_who_take_it(server: ServerProcess, accept: str) -> None:
    answer = get_metrics(server, Accept=accept)
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    text = answer.data.decode()
    assert text.endswith("# EOF\n")
    assert {family.name for family in openmetrics_families(text)} >= {"fader_http_requests", "fader_build_info"}


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "text/html",
        "",
        ";,;q=,",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;version=x",
        "application/openmetrics-text;version==;q",
        "application/openmetrics-text;q=0.0",
    ],
)
def test_the_text_format_for_everybody_else(server: ServerProcess, accept: str) -> None:
    answer = get_metrics(server, Accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_it_says_what_runs(before: Scrape) -> None:
    assert before.sum("fader_build_info", version=__version__) == 1
    assert before.sum("process_resident_memory_bytes") > 10_000_000


def test_requests_are_counted_by_route_and_not_by_path(server: ServerProcess, before: Scrape) -> None:
    keys = [f"flag-{uuid.uuid4().hex}" for _ in range(3)]
    for key in keys:
        server.admin.create_flag(key)
        assert server.admin.request("GET", f"/projects/default/flags/{key}").status == 200
    assert server.admin.request("GET", "/projects/default/flags/missing").status == 404
    after = scrape(server)
    of_flags = {"method": "GET", "route": "/api/v1/projects/{project}/flags/{flag}"}
    for status, count in (("200", 3), ("404", 1)):
        now = after.sum("fader_http_requests_total", **of_flags, status=status)
        assert now - before.sum("fader_http_requests_total", **of_flags, status=status) == count
    timed = "fader_http_request_duration_seconds_count"
    assert after.sum(timed, **of_flags) - before.sum(timed, **of_flags) == 4
    assert not any(key in str(family.samples) for key in keys for family in after.families.values())


def test_nobody_can_make_series(server: ServerProcess, before: Scrape) -> None:
    for method in ("PROPFIND", "REPORT", "LOCK"):
        nonce = uuid.uuid4().hex
        assert request(server, "GET", f"/{nonce}/{nonce}").status == 404
        assert request(server, method, "/sdk/v1/snapshot").status == 405
        assert request(server, "GET", "/sdk/v1/snapshot", Authorization=f"Bearer default:{nonce}.{nonce}").status == 401
    after = scrape(server)
    assert after.sum("fader_http_requests_total", route="none", status="404") >= 3
    assert after.sum("fader_http_requests_total", method="other", route="/sdk/v1/snapshot", status="405") >= 3
    new = {
        (sample.name, *sorted(sample.labels.items()))
        for family in after.families.values()
        for sample in family.samples
        if not before.has(sample.name, **sample.labels) and not sample.name.startswith("fader_http_request_duration")
    }
    assert len(new) <= 4, "one for each kind of request above, and one for its rejection"


def test_probes_are_counted_and_their_lines_are_not_written(server: ServerProcess, before: Scrape) -> None:
    request(server, "GET", "/health/live")
    after = scrape(server)
    for route in ("/health/live", "/metrics"):
        name = "fader_http_requests_total"
        assert after.sum(name, route=route, status="200") > before.sum(name, route=route, status="200")
        assert f'"path": "{route}"' not in server.log.read_text()


def test_streams_are_counted_while_they_live_and_when_they_end(
    server: ServerProcess, before: Scrape, opened: Callable[..., RawStream]
) -> None:
    place = {"project": "default", "environment": "staging"}
    streams = [opened(key=server.sdk_key("staging")) for _ in range(3)]
    for stream in streams:
        stream.event()
    during = scrape(server)
    assert during.sum("fader_streams_open", **place) == 3
    assert during.sum("fader_streams_opened_total") - before.sum("fader_streams_opened_total") == 3
    for stream in streams[:2]:
        stream.close()
    wait_for(lambda: scrape(server).sum("fader_streams_open", **place) == 1, "two streams to be forgotten")
    after = scrape(server)
    ended = "fader_streams_ended_total"
    assert after.sum(ended, reason="left") - before.sum(ended, reason="left") == 2

    def adds_up() -> bool:
        told = scrape(server)
        return told.sum("fader_streams_opened_total") - told.sum(ended) == told.sum("fader_streams_open")

    wait_for(adds_up, "opened less ended to be open")


def test_streams_of_a_revoked_key_end_for_that_reason(
    server: ServerProcess, before: Scrape, opened: Callable[..., RawStream]
) -> None:
    made = server.admin.ok("POST", "/projects/default/keys", {"name": "shop", "environment": "production"})
    stream = opened(key=made["secret"])
    stream.event()
    server.admin.ok("DELETE", f"/projects/default/keys/{made['id']}")
    assert stream.rest() == [("goodbye", {})]
    ended = "fader_streams_ended_total"
    wait_for(
        lambda: scrape(server).sum(ended, reason="revoked") == before.sum(ended, reason="revoked") + 1,
        "the stream to be counted",
    )
    events = "fader_stream_events_total"
    assert scrape(server).sum(events, event="goodbye") - before.sum(events, event="goodbye") == 1


def test_streams_whose_clients_do_not_read_are_counted(
    server: ServerProcess, before: Scrape, opened: Callable[..., RawStream]
) -> None:
    key = f"flag-{uuid.uuid4().hex[:8]}"
    server.admin.create_flag(key)
    values = [f"{number:04}{'x' * 56}" for number in range(10_000)]
    rules = [{"constraints": [{"attribute": "country", "operator": "in", "values": values}]}]
    path = f"/projects/default/flags/{key}/environments/production"
    server.admin.ok("PUT", path, {"enabled": True, "rules": rules})
    stuck = opened()
    parked = "fader_streams_parked_total"

    def is_parked() -> bool:
        for verb in ("off", "on"):  # each brings more than half a megabyte
            server.admin.verb(key, verb)
        return scrape(server).sum(parked) > before.sum(parked)

    wait_for(is_parked, "the stream to be parked")
    assert scrape(server).sum(parked) - before.sum(parked) == 1
    stuck.close()
    server.admin.ok("PUT", path, {"enabled": False, "rules": []})


def test_revisions_propagation_and_every_byte_of_a_change(
    server: ServerProcess, opened: Callable[..., RawStream]
) -> None:
    # In an environment that no other test here has streams of.
    place = {"project": "default", "environment": "development"}
    key = f"flag-{uuid.uuid4().hex[:8]}"
    made = server.admin.create_flag(key)["environments"]
    before = scrape(server)
    stream = opened(key=server.sdk_key("development"))
    revision = stream.follow(made["development"]["revision"])[-1][1]["revision"]

    def all_has_been_heard_of() -> Scrape | None:
        told = scrape(server)
        followed = list(told.samples("fader_environment_revision", {}))
        is_all = all(sample.value >= made[sample.labels["environment"]]["revision"] for sample in followed)
        return told if is_all else None

    begun: Scrape = wait_for(all_has_been_heard_of, "the flag to be in all environments that are followed")
    sizes = 0
    for number in range(1, 5):
        server.admin.verb(key, "on" if number % 2 else "off", environment="development")
        sizes += len(stream.chunk())
    after = scrape(server)
    assert after.sum("fader_streams_open", **place) == 1
    assert after.sum("fader_environment_revision", **place) == revision + 4
    counted = "fader_change_propagation_seconds_count"
    assert after.sum(counted) - begun.sum(counted) == 4
    assert 0 < after.sum("fader_change_propagation_seconds_sum") < PATIENCE
    assert after.sum("fader_stream_bytes_total") - begun.sum("fader_stream_bytes_total") == sizes
    events = "fader_stream_events_total"
    assert after.sum(events, event="change") - begun.sum(events, event="change") == 4
    assert begun.sum(events, event="snapshot") - before.sum(events, event="snapshot") == 1


def test_bytes_of_snapshots_are_those_that_were_sent(server: ServerProcess, before: Scrape) -> None:
    bearer = f"Bearer {server.sdk_key('development')}"
    plain = request(server, "GET", "/sdk/v1/snapshot", Authorization=bearer)
    head = request(server, "HEAD", "/sdk/v1/snapshot", Authorization=bearer)
    etag = plain.headers["etag"]
    unchanged = urllib3.request(
        "GET", f"{server.url}/sdk/v1/snapshot", headers={"Authorization": bearer, "If-None-Match": etag}
    )
    assert (plain.status, head.status, unchanged.status) == (200, 200, 304)
    after = scrape(server)
    sent = after.sum("fader_snapshot_bytes_total") - before.sum("fader_snapshot_bytes_total")
    assert sent == len(plain.data) == int(plain.headers["content-length"])


def test_usage_reports_are_counted_once(server: ServerProcess, before: Scrape) -> None:
    report = {"id": uuid.uuid4().hex, "ended": "2026-01-01T00:00:00Z", "flags": {}, "unknown": {"missing": 1}}
    for _ in range(3):
        answer = urllib3.request(
            "POST",
            f"{server.url}/sdk/v1/usage",
            json=report,
            headers={"Authorization": f"Bearer {server.sdk_key()}"},
            timeout=PATIENCE,
        )
        assert answer.status == 202
    after = scrape(server)
    for outcome, count in (("counted", 1), ("repeated", 2)):
        name = "fader_usage_reports_total"
        assert after.sum(name, outcome=outcome) - before.sum(name, outcome=outcome) == count


@pytest.mark.parametrize(
    ("door", "path", "credential", "status", "reason"),
    [
        ("sdk", "/sdk/v1/snapshot", None, 401, "missing"),
        ("sdk", "/sdk/v1/stream", "default:production.nobody-knows-this", 401, "unknown"),
        ("sdk", "/sdk/v1/snapshot", "admin", 403, "wrong_kind"),
        ("admin", "/api/v1/projects", None, 401, "missing"),
        ("admin", "/api/v1/projects", "fader_nobody-knows-this-one", 401, "unknown"),
        ("admin", "/api/v1/projects", "sdk", 403, "wrong_kind"),
    ],
)
def test_rejected_credentials(
    server: ServerProcess, before: Scrape, door: str, path: str, credential: str | None, status: int, reason: str
) -> None:
    known = {"admin": server.admin_token, "sdk": server.sdk_key()}
    headers = {} if credential is None else {"Authorization": f"Bearer {known.get(credential, credential)}"}
    assert request(server, "GET", path, **headers).status == status
    name = "fader_credentials_rejected_total"
    after = scrape(server)
    assert after.sum(name, door=door, reason=reason) - before.sum(name, door=door, reason=reason) == 1
    assert after.sum(name) - before.sum(name) == 1


def test_tokens_without_the_role_or_the_scope(server: ServerProcess, before: Scrape) -> None:
    tokens = {
        "role": {"name": f"viewer-{uuid.uuid4().hex[:8]}", "role": "viewer"},
        "scope": {"name": f"elsewhere-{uuid.uuid4().hex[:8]}", "role": "editor", "projects": ["other"]},
    }
    name = "fader_credentials_rejected_total"
    for reason, body in tokens.items():
        token = server.admin.ok("POST", "/tokens", body)["secret"]
        answer = server.admin.request("POST", "/projects/default/flags", {"key": "never-made"}, token=token)
        assert answer.status == 403, answer
        after = scrape(server)
        assert after.sum(name, door="admin", reason=reason) - before.sum(name, door="admin", reason=reason) == 1


def test_transactions_are_timed_and_connections_given_back(server: ServerProcess, before: Scrape) -> None:
    server.admin.create_flag(f"flag-{uuid.uuid4().hex[:8]}")
    after = scrape(server)
    timed = "fader_database_transaction_duration_seconds_count"
    assert after.sum(timed, kind="write") > before.sum(timed, kind="write")
    assert after.sum("fader_database_up") == 1
    assert after.sum("fader_database_failures_total") == 0
    assert 0 <= after.sum("fader_database_connections_in_use") <= after.sum("fader_database_connections_limit")
    assert after.sum("fader_bus_up") == 1


def test_the_event_loop_is_watched(server: ServerProcess) -> None:
    wait_for(lambda: scrape(server).sum("fader_event_loop_lag_seconds_count") >= 1, "a measurement")


def test_a_token_keeps_strangers_out(tmp_path: Path) -> None:
    token = uuid.uuid4().hex
    with running_server(tmp_path, FADER_METRICS_TOKEN=token, FADER_LOG_LEVEL="debug") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {server.admin_token}"}):
            answer = get_metrics(server, **headers)
            assert answer.status == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert "FADER_METRICS_TOKEN" in answer.json()["hint"]
        answer = get_metrics(server, Authorization=f"Bearer {token}")
        assert answer.status == 200
        told = Scrape(answer.data.decode())
        assert told.sum("fader_credentials_rejected_total", door="metrics", reason="missing") == 1
        assert told.sum("fader_credentials_rejected_total", door="metrics", reason="unknown") == 2
        assert token not in server.log.read_text()
