"""Traces: where the time of a request went, as spans.

Off unless the standard variables of OpenTelemetry name a receiver, and then nothing of it is even imported.
"""

import importlib.util
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias

from fader_server.logs import logger

_log = logger(__name__)

Attribute: TypeAlias = str | int | float

_RECEIVERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN: Final = "http/protobuf"


class RequestSpan(Protocol):
    """The span of a request."""

    @property
    def trace_id(self) -> str:
        """As it is written in logs and in ``traceparent``: 32 hexadecimal digits."""

    def answered(self, route: str, status: int) -> None:
        """The answer has begun.

        Args:
            route: The template of the path; empty if no route was found.
        """

    def end(self) -> None:
        """The span ends here, and not when its block does."""


class Tracing(Protocol):
    """Adds steps to the trace that is under way. Traces begin with requests (:class:`RequestTracing`)."""

    def span(
        self, name: str, attributes: Mapping[str, Attribute] | None = None, *, parent: str | None = None
    ) -> AbstractContextManager[object]:
        """A step, for as long as the block takes; nothing where no trace is under way.

        Args:
            name: What is done; one of few.
            attributes: What it is done to.
            parent: The step that led to it, where that was in another task or on another node: what ``here`` gave
                there.
        """

    def here(self) -> str | None:
        """The step that is under way, to be handed on as a ``parent``: a W3C ``traceparent``
        (https://www.w3.org/TR/trace-context/)."""


class RequestTracing(Tracing, Protocol):
    """Where traces begin, and where they go in the end."""

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> AbstractContextManager[RequestSpan]:
        """The span of a request: part of its sender's trace if the headers say so, else the first of a new one.

        Args:
            headers: ``traceparent`` and ``tracestate``, where they came.
        """

    def close(self, seconds: float) -> None:
        """Send what is left, and give up after some seconds."""


class NoTracing:
    """Implements :class:`Tracing` by doing nothing."""

    _NOTHING: Final = nullcontext()

    def span(
        self, name: str, attributes: Mapping[str, Attribute] | None = None, *, parent: str | None = None
    ) -> AbstractContextManager[object]:
        """Nothing."""
        del name, attributes, parent
        return self._NOTHING

    def here(self) -> str | None:
        """Nowhere."""
        return None


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether somebody waits for traces and we can send them; warns where the first is true and the second is not.

    Variables: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    receiver = next((name for name in _RECEIVERS if environ.get(name)), None)
    if receiver is None:
        return False
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _SPOKEN)
    if protocol != _SPOKEN:
        _log.warning(f"no traces: they can only be sent as {_SPOKEN}", asked_for=protocol)
        return False
    if importlib.util.find_spec("opentelemetry") is None or not _has_exporter():
        _log.warning(f"no traces: {receiver} is set, and OpenTelemetry is not installed (pip install 'fader[otel]')")
        return False
    return True


def _has_exporter() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False
