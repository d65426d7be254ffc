"""A receiver of traces that tests own: OTLP over HTTP, decoded.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from processes import wait_for


class ReceivedSpan:
    """A span, with the attributes of what sent it beside its own."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.kind: int = span.kind
        self.trace_id: str = span.trace_id.hex()
        self.span_id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.attributes = _attributes(span.attributes)
        self.resource = resource
        self.has_failed = span.status.code == span.status.STATUS_CODE_ERROR
        self.problem: str = span.status.message
        self.seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9

    def __repr__(self) -> str:
        return f"ReceivedSpan({self.name!r}, {self.attributes})"


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class OtlpReceiver:
    """What has come so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []
        self.spans: list[ReceivedSpan] = []

    def take(self, path: str, body: bytes) -> None:
        """A request has come."""
        assert path == "/v1/traces", path
        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        for resource in request.resource_spans:
            about = _attributes(resource.resource.attributes)
            self.spans += [ReceivedSpan(span, about) for scope in resource.scope_spans for span in scope.spans]

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """What has come of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def span(self, name: str, trace_id: str | None = None, **attributes: Any) -> ReceivedSpan:
        """The newest span of this name (of this trace) with these attributes, as soon as there is one. Names of
        attributes are written with underscores instead of dots."""

        def found() -> ReceivedSpan | None:
            for span in reversed(self.spans):
                if span.trace_id != (trace_id or span.trace_id):
                    continue
                known = {key.replace(".", "_"): value for key, value in span.attributes.items()}
                if span.name == name and attributes.items() <= known.items():
                    return span
            return None

        return wait_for(found, f"a span {name!r} with {attributes}; there are {self.spans}")


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver for the time of a ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_request(self, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = OtlpReceiver(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            serving.join()
