"""Traces by OpenTelemetry, sent as OTLP over HTTP. Imported only where they are wanted: it needs the extra ``otel``."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fader_server import __version__
from fader_server.telemetry.tracing import Attribute

_W3C: Final = TraceContextTextMapPropagator()


class _RequestSpan:
    """Implements :class:`fader_server.telemetry.tracing.RequestSpan`."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span = span
        self._method = method

    @property
    def trace_id(self) -> str:
        return format_trace_id(self._span.get_span_context().trace_id)

    def answered(self, route: str, status: int) -> None:
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()


class OpenTelemetry:
    """Implements :class:`fader_server.telemetry.tracing.RequestTracing`. The standard ``OTEL_…`` variables say where to
    send spans, how many, and under which name."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        attributes = {"service.version": __version__}
        if not (environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")):
            attributes["service.name"] = "fader"
        self._exporter = OTLPSpanExporter()
        # Not the global provider: this belongs to one application, and ends with it.
        self._provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("fader_server", __version__)

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Iterator[_RequestSpan]:
        with self._tracer.start_as_current_span(
            method,
            context=_W3C.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": path},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _RequestSpan(span, method)

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, Attribute] | None = None, *, parent: str | None = None
    ) -> Iterator[None]:
        context = _W3C.extract({"traceparent": parent}) if parent else None
        if not trace.get_current_span(context).get_span_context().is_valid:
            yield
            return
        with self._tracer.start_as_current_span(
            name, context=context, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                # The text of an error may hold data.
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def here(self) -> str | None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def close(self, seconds: float) -> None:
        # A receiver that does not answer must not hold up the end of the server: the SDK takes no deadline, and would
        # wait for half a minute.
        sending = threading.Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        sending.start()
        sending.join(seconds)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
