"""The numbers: one :class:`Metrics` for each application, in a registry of its own, handed to whoever has something
to report. Methods are named after what has happened; none of them ever fails or waits."""

import asyncio
import platform
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from fader_server import __version__
from fader_server.errors import Rejection
from fader_server.telemetry import catalogue
from fader_server.telemetry.catalogue import (
    AckOutcome,
    Definition,
    Door,
    Limit,
    NoticeOutcome,
    StreamEnding,
    StreamEvent,
    TransactionKind,
)
from fader_server.telemetry.exposition import MEDIA_TYPES, TextFormat, of_worker, wanted_format, written
from fader_server.telemetry.requests import RequestTimes
from fader_server.telemetry.sources import SampledCollector, Sources

# One more series for each counter and histogram, which says when it was created: hardly anybody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Everything that one application counts."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._sampled = SampledCollector()
        registry.register(self._sampled)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        _gauge(catalogue.BUILD_INFO, registry).labels(__version__, platform.python_version()).set(1)
        self._workers = _gauge(catalogue.WORKERS, registry)
        self._workers.set(1)

        self._requests = RequestTimes()
        registry.register(self._requests)
        self._rejected = _counter(catalogue.CREDENTIALS_REJECTED, registry)
        self._refused = _by_label(_counter(catalogue.ADMISSION_REFUSED, registry), get_args(Limit))

        self._streams_opened = _counter(catalogue.STREAMS_OPENED, registry)
        self._streams_ended = _by_label(_counter(catalogue.STREAMS_ENDED, registry), get_args(StreamEnding))
        self._streams_parked = _counter(catalogue.STREAMS_PARKED, registry)
        self._acknowledgements = _by_label(_counter(catalogue.ACKNOWLEDGEMENTS, registry), get_args(AckOutcome))
        self._applied = _histogram(catalogue.APPLIED, registry)
        self._events = _by_label(_counter(catalogue.STREAM_EVENTS, registry), get_args(StreamEvent))
        self._stream_bytes = _counter(catalogue.STREAM_BYTES, registry)
        self._snapshot_bytes = _counter(catalogue.SNAPSHOT_BYTES, registry)
        self._epoch_changes = _counter(catalogue.EPOCH_CHANGES, registry)
        self._propagation = _histogram(catalogue.PROPAGATION, registry)
        self._usage_reports = _by_label(_counter(catalogue.USAGE_REPORTS, registry), ("counted", "repeated"))
        self._notices = _by_label(_counter(catalogue.NOTICES, registry), get_args(NoticeOutcome))

        self._bus_messages = _by_label(_counter(catalogue.BUS_MESSAGES, registry), ("published", "received"))
        self._bus_reconnects = _counter(catalogue.BUS_RECONNECTS, registry)

        self._database_up = _gauge(catalogue.DATABASE_UP, registry)
        kinds = get_args(TransactionKind)
        durations = _histogram(catalogue.TRANSACTION_DURATION, registry)
        self._transactions = {kind: durations.labels(kind) for kind in kinds}
        self._transaction_failures = _by_label(_counter(catalogue.TRANSACTION_FAILURES, registry), kinds)

        self._loop_lag = _histogram(catalogue.EVENT_LOOP_LAG, registry)

    def ask(self, sources: Sources) -> None:
        """Ask these functions at every scrape from now on."""
        self._sampled.sources = sources

    def node_begun(self, workers: int) -> None:
        """This process is one of so many that are one node."""
        self._workers.set(workers)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics as text.

        Args:
            accept: The ``Accept`` header of whoever asks.

        Returns:
            The text, and its media type.
        """
        text_format = wanted_format(accept)
        return await self.text(text_format), MEDIA_TYPES[text_format]

    async def text(self, text_format: TextFormat, worker: int | None = None) -> bytes:
        """All metrics as text, in one of the formats.

        Args:
            worker: The number of this process, if it is one of several, for a label of every series.
        """
        self._sampled.sample()
        registry = self._registry if worker is None else of_worker(self._registry, worker)
        # Thousands of series take longer to write than streams should wait. Counters may be read from any thread.
        return await asyncio.to_thread(written, registry, text_format)

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has its answer, or a stream has opened.

        Args:
            route: The template of the path; empty if no route was found.
            status: 0 if there was no answer, because the client had gone.
        """
        self._requests.add(method, route, status, seconds)

    def credential_rejected(self, door: Door, reason: Rejection) -> None:
        """Somebody was refused with 401 or 403."""
        self._rejected.labels(door, reason).inc()

    def admission_refused(self, limit: Limit) -> None:
        """Somebody was refused, or cut off, to protect the server."""
        self._refused[limit].inc()

    def stream_opened(self) -> None:
        """An SDK's stream has opened."""
        self._streams_opened.inc()

    def stream_ended(self, reason: StreamEnding) -> None:
        """An SDK's stream has ended."""
        self._streams_ended[reason].inc()

    def stream_parked(self) -> None:
        """An SDK's stream waits for its client to read."""
        self._streams_parked.inc()

    def acknowledged(self, outcome: AckOutcome) -> None:
        """A client of this node has applied a revision, or has refused it."""
        self._acknowledgements[outcome].inc()

    def change_applied(self, seconds: float) -> None:
        """A client has had a change so long after the change's own time."""
        self._applied.observe(seconds)

    def event_sent(self, event: StreamEvent, size: int, streams: int = 1) -> None:
        """An event was handed to some streams.

        Args:
            size: Its bytes.
            streams: To how many.
        """
        self._events[event].inc(streams)
        self._stream_bytes.inc(size * streams)

    def snapshot_sent(self, size: int) -> None:
        """A snapshot was sent by request, in so many bytes. The request is counted as such."""
        self._snapshot_bytes.inc(size)

    def change_propagated(self, seconds: float) -> None:
        """A change was broadcast on this node.

        Args:
            seconds: Since the change's own time. Clocks of two nodes may disagree, so it may seem to come from the
                future; that counts as no time.
        """
        self._propagation.observe(max(seconds, 0.0))

    def epoch_changed(self, project: str, environment: str) -> None:
        """An environment's history was replaced."""
        self._epoch_changes.labels(project, environment).inc()

    def usage_reported(self, *, counted: int = 0, repeated: int = 0) -> None:
        """Usage reports have come in."""
        self._usage_reports["counted"].inc(counted)
        self._usage_reports["repeated"].inc(repeated)

    def notice_sent(self, outcome: NoticeOutcome) -> None:
        """It was tried to tell somebody something."""
        self._notices[outcome].inc()

    def bus_reconnected(self) -> None:
        """The bus was lost and is connected anew."""
        self._bus_reconnects.inc()

    def bus_published(self) -> None:
        """A message was put on the bus."""
        self._bus_messages["published"].inc()

    def bus_received(self) -> None:
        """A message came from the bus."""
        self._bus_messages["received"].inc()

    def transaction_ended(self, kind: TransactionKind, seconds: float, *, has_failed: bool | None) -> None:
        """A transaction is over.

        Args:
            has_failed: Whether the database could not be used; ``None`` if it ended before that was known, as when it
                was cancelled.
        """
        self._transactions[kind].observe(seconds)
        if has_failed is None:
            return
        self._database_up.set(not has_failed)
        if has_failed:
            self._transaction_failures[kind].inc()

    def loop_lagged(self, seconds: float) -> None:
        """A timer of the event loop fired so much later than asked."""
        self._loop_lag.observe(seconds)


def _counter(definition: Definition, registry: CollectorRegistry) -> Counter:
    return Counter(definition.name, definition.meaning, definition.labels, registry=registry)


def _gauge(definition: Definition, registry: CollectorRegistry) -> Gauge:
    return Gauge(definition.name, definition.meaning, definition.labels, registry=registry)


def _histogram(definition: Definition, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        definition.name, definition.meaning, definition.labels, buckets=definition.buckets, registry=registry
    )


def _by_label(counter: Counter, values: tuple[str, ...]) -> dict[str, Counter]:
    """The series for each value of the one label, all of them there from the start: a counter that appears only with
    its first event hides that event from ``rate()``."""
    return {value: counter.labels(value) for value in values}
