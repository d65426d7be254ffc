"""Numbers and traces together, for the rooms that report both."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from fader_server.errors import FaderError, Unavailable
from fader_server.telemetry.catalogue import TransactionKind
from fader_server.telemetry.metrics import Metrics
from fader_server.telemetry.tracing import NoTracing, RequestTracing, Tracing, is_wanted


@dataclass(frozen=True)
class Telemetry:
    """What one application says about itself. Without arguments: numbers that nobody asks for, and no traces."""

    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=NoTracing)
    requests: RequestTracing | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Telemetry":
        """With traces where the standard variables of OpenTelemetry ask for them."""
        if not is_wanted(environ):
            return cls()
        from fader_server.telemetry.otlp import OpenTelemetry  # an extra, which need not be installed

        tracing = OpenTelemetry(environ)
        return cls(tracing=tracing, requests=tracing)

    def close(self, seconds: float) -> None:
        """Send the last traces, and give up after some seconds."""
        if self.requests is not None:
            self.requests.close(seconds)

    @contextmanager
    def transaction(self, kind: TransactionKind, database: str) -> Iterator[None]:
        """Report what happens in the block as one transaction.

        Args:
            database: ``sqlite`` or ``postgresql``.
        """
        began = time.perf_counter()
        has_failed: bool | None = None
        try:
            with self.tracing.span(f"database {kind}", {"db.system.name": database}):
                yield
            has_failed = False
        except FaderError as error:
            has_failed = isinstance(error, Unavailable)
            raise
        finally:
            self.metrics.transaction_ended(kind, time.perf_counter() - began, has_failed=has_failed)
