"""Traces as a receiver gets them: from real servers, over OTLP."""

import json
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import urllib3

from processes import PATIENCE, ServerProcess, running_server, wait_for
from raw_stream import RawStream
from services.otlp_receiver import OtlpReceiver, otlp_receiver

SERVER_KIND = 2
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("traces")
    with running_server(
        folder, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, FADER_LOG_LEVEL="debug", **AT_ONCE
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def sent() -> dict[str, str]:
    """Headers of somebody who traces."""
    return {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


def ids(headers: dict[str, str]) -> tuple[str, str]:
    """The trace's, and that of the span that called us."""
    _, trace_id, span_id, _ = headers["traceparent"].split("-")
    return trace_id, span_id


def lines(server: ServerProcess, **fields: Any) -> list[dict[str, Any]]:
    """Lines of the log that have these fields."""
    found = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if fields.items() <= line.items()]


def get(server: ServerProcess, path: str, **headers: str) -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", f"{server.url}{path}", headers=headers, retries=False, timeout=PATIENCE)


def test_a_write_is_one_trace_from_the_sender_to_the_broadcast(
    server: ServerProcess, receiver: OtlpReceiver, sent: dict[str, str]
) -> None:
    server.admin.create_flag("traced")
    path = "/projects/default/flags/traced/environments/production/on"
    with closing(RawStream(server)) as stream:
        stream.event()
        assert server.admin.request("POST", path, {}, headers=sent).status == 200
        assert stream.event()[0] == "change"
    trace_id, caller = ids(sent)
    route = "/api/v1/projects/{project}/flags/{flag}/environments/{environment}/on"
    request = receiver.span(f"POST {route}", trace_id, http_response_status_code=200)
    assert (request.parent_id, request.kind) == (caller, SERVER_KIND)
    assert request.attributes["http.route"] == route
    assert request.attributes["url.path"] == f"/api/v1{path}"
    assert request.attributes["http.request.method"] == "POST"
    broadcast = receiver.span("broadcast", trace_id, fader_environment="production", fader_streams=1)
    assert broadcast.parent_id == request.span_id
    spans = receiver.trace(trace_id)
    written = [span for span in spans if span.name == "database write"]
    assert [span.parent_id for span in written] == [request.span_id]
    assert written[0].attributes["db.system.name"] == "sqlite"
    read = [span for span in spans if span.name == "database read"]
    assert broadcast.span_id in {span.parent_id for span in read}, "the change is read before it is broadcast"
    assert not any(span.has_failed for span in spans)


def test_lines_of_the_log_name_the_trace(server: ServerProcess, sent: dict[str, str]) -> None:
    get(server, "/api/v1/projects", **sent)
    line = wait_for(lambda: lines(server, trace_id=ids(sent)[0], event="request"), "a line")[0]
    assert (line["path"], line["status"]) == ("/api/v1/projects", 401)


def test_a_request_without_a_trace_begins_one(server: ServerProcess, receiver: OtlpReceiver) -> None:
    key = f"new-{secrets.token_hex(4)}"
    server.admin.create_flag(key)
    server.admin.ok("GET", f"/projects/default/flags/{key}")
    request = receiver.span("GET /api/v1/projects/{project}/flags/{flag}", http_response_status_code=200)
    assert request.parent_id == ""
    assert request.resource["service.name"] == "fader"
    assert request.resource["service.version"]


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{'0' * 16}-01", "ff-" + "a" * 49])
def test_malformed_traces_are_not_taken_over(server: ServerProcess, receiver: OtlpReceiver, traceparent: str) -> None:
    nonce = secrets.token_hex(8)
    assert get(server, f"/{nonce}", traceparent=traceparent).status == 404
    request = receiver.span("GET", url_path=f"/{nonce}", http_response_status_code=404)
    assert request.parent_id == ""
    assert set(request.trace_id) != {"0"}


def test_a_trace_that_is_not_sampled_is_not_sent(
    server: ServerProcess, receiver: OtlpReceiver, sent: dict[str, str]
) -> None:
    trace_id, caller = ids(sent)
    assert get(server, "/unsampled", traceparent=f"00-{trace_id}-{caller}-00").status == 404
    assert get(server, "/sampled").status == 404
    receiver.span("GET", url_path="/sampled")
    assert receiver.trace(trace_id) == []


def test_the_span_of_a_stream_ends_when_it_has_opened(
    server: ServerProcess, receiver: OtlpReceiver, sent: dict[str, str]
) -> None:
    with closing(RawStream(server, sent)) as stream:
        stream.event()
        receiver.span("GET /sdk/v1/stream", ids(sent)[0], http_response_status_code=200)


def test_probes_are_not_traced(server: ServerProcess, receiver: OtlpReceiver) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/after-the-probes"):
        get(server, path)
    receiver.span("GET", url_path="/after-the-probes")
    assert not any(span.attributes.get("url.path", "").startswith(("/health", "/metrics")) for span in receiver.spans)


def test_no_secret_and_no_query_is_sent(server: ServerProcess, receiver: OtlpReceiver) -> None:
    get(server, "/sdk/v1/snapshot?secret=in-the-query", Authorization=f"Bearer {server.sdk_key()}")
    receiver.span("GET /sdk/v1/snapshot", http_response_status_code=200)
    get(server, "/hooks/v1/fader_hook_in-the-path")
    receiver.span("GET", url_path="/hooks/v1/fader_hook_…")
    everything = b"".join(receiver.bodies)
    for secret in (server.admin_token, server.sdk_key(), "in-the-query", "in-the-path"):
        assert secret.encode() not in everything


def test_the_last_spans_are_sent_at_the_end(tmp_path: Path, receiver: OtlpReceiver) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with running_server(tmp_path, OTEL_SERVICE_NAME="flags", **settings) as server:
        get(server, "/the-last-one")
        assert server.terminate() == 0
    assert receiver.span("GET", url_path="/the-last-one").resource["service.name"] == "flags"


def test_a_receiver_that_never_answers_harms_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "FADER_SHUTDOWN_SECONDS": "1", **AT_ONCE}
        with running_server(tmp_path, **settings) as server:
            server.admin.create_flag("new-checkout")
            server.process.send_signal(signal.SIGTERM)
            # Far less than the half minute that the SDK would wait.
            assert server.process.wait(15) == 0
            assert "Traceback" not in server.log.read_text()


def test_a_receiver_that_is_away_harms_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with running_server(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **AT_ONCE) as server:
        server.admin.create_flag("new-checkout")
        wait_for(lambda: "opentelemetry" in server.log.read_text(), "a complaint")
        assert server.terminate() == 0
        assert "Traceback" not in server.log.read_text()


def test_a_trace_leads_from_node_to_node(
    tmp_path: Path, receiver: OtlpReceiver, redis_server: Any, sent: dict[str, str]
) -> None:
    settings = {
        "REDIS_URL": redis_server.url,
        "FADER_REDIS_PREFIX": f"traces-{secrets.token_hex(4)}",
        "DATABASE_URL": f"sqlite:///{tmp_path}/shared.db",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        **AT_ONCE,
    }
    with ExitStack() as stack:
        first = stack.enter_context(
            running_server(tmp_path / "first", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=first", **settings)
        )
        first.admin.create_flag("traced")
        second = first.sibling(tmp_path / "second", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=second")
        stack.callback(second.close)
        second.start()
        streams = [stack.enter_context(closing(RawStream(node))) for node in (first, second)]
        for stream in streams:
            stream.event()
        path = "/projects/default/flags/traced/environments/production/on"
        assert first.admin.request("POST", path, {}, headers=sent).status == 200
        for stream in streams:
            assert stream.event()[0] == "change"
        trace_id, _ = ids(sent)

        def broadcasts() -> set[str]:
            return {
                span.resource["service.instance.id"] for span in receiver.trace(trace_id) if span.name == "broadcast"
            }

        wait_for(lambda: broadcasts() == {"first", "second"}, "both nodes to have told of their broadcasts")


SAY_WHAT_IS_LOADED = """
import sys
import fader_server.serving
from fader_server.app import create_app
from fader_server.settings import read_settings
create_app(read_settings({}))
# Litestar itself looks for OpenTelemetry, and finds no more than a list of names.
parts = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.trace")
print([name for name in sys.modules if name.startswith(parts)])
"""


def test_nothing_of_it_is_loaded_unless_it_is_wanted() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SAY_WHAT_IS_LOADED], env={}, capture_output=True, text=True, timeout=PATIENCE, check=True
    )  # fmt: skip
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_it_can_be_turned_off(
    tmp_path: Path, receiver: OtlpReceiver, variables: dict[str, str], complaint: str | None
) -> None:
    with running_server(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **AT_ONCE, **variables) as server:
        nonce = secrets.token_hex(8)
        get(server, f"/{nonce}")
        assert server.terminate() == 0
        warnings = lines(server, level="warning", logger="fader_server.telemetry.tracing")
        assert len(warnings) == (complaint is not None)
        assert complaint is None or complaint in warnings[0]["event"]
    assert not any(span.attributes.get("url.path") == f"/{nonce}" for span in receiver.spans)


def test_without_the_extra_it_says_what_is_missing_and_serves(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """As if it were not installed: Python cannot find what is None."""
    blocking = 'import sys; sys.modules["opentelemetry.exporter"] = sys.modules["opentelemetry.sdk"] = None'
    (tmp_path / "sitecustomize.py").write_text(blocking)
    with running_server(
        tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, PYTHONPATH=str(tmp_path), **AT_ONCE
    ) as server:  # fmt: skip
        assert get(server, "/health/ready").status == 200
        (warning,) = lines(server, level="warning", logger="fader_server.telemetry.tracing")
        assert "fader[otel]" in warning["event"]
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" in warning["event"]
