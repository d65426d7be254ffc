"""Requests by route, and how long they took: counted for every request, however short, so as cheaply as Python can.

The client library's counters and histograms take locks and compare with every bound; here one event loop counts, and
a scrape reads. That is worth a module where a whole answer takes fifty microseconds.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fader_server.telemetry.catalogue import HTTP_REQUEST_DURATION, HTTP_REQUESTS

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Others are counted as one: whoever invents methods must not make series."""
OTHER_METHOD: Final = "other"
NO_ROUTE: Final = "none"

_BOUNDS: Final = HTTP_REQUEST_DURATION.buckets
_BOUND_NAMES: Final[tuple[str, ...]] = (*map(floatToGoString, _BOUNDS), "+Inf")


class _Times:
    """Of requests that are counted together: how many fell between two bounds, and how many seconds all took."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUND_NAMES)
        self.seconds = 0.0


class RequestTimes(Collector):
    """Implements ``fader_http_requests_total`` and ``fader_http_request_duration_seconds``."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, str, int], _Times] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        times = self._times.get((method, route, status))
        if times is None:
            known = method if method in METHODS else OTHER_METHOD
            times = self._times.setdefault((known, route or NO_ROUTE, status), _Times())
        times.counts[bisect_left(_BOUNDS, seconds)] += 1
        times.seconds += seconds

    def describe(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """What may come."""
        return _families()

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily]:
        """How many there have been. On any thread: what is copied here changes no more in its keys."""
        requests, durations = _families()
        by_route: dict[tuple[str, str], _Times] = {}
        for (method, route, status), times in self._times.copy().items():
            counts = times.counts.copy()
            requests.add_metric((method, route, str(status)), sum(counts))
            of_route = by_route.setdefault((method, route), _Times())
            of_route.counts = [one + other for one, other in zip(of_route.counts, counts, strict=True)]
            of_route.seconds += times.seconds
        for labels, times in by_route.items():
            durations.add_metric(labels, _cumulated(times.counts), times.seconds)
        return requests, durations


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets hold all that took at most so long."""
    return list(zip(_BOUND_NAMES, itertools.accumulate(counts), strict=True))


def _families() -> tuple[CounterMetricFamily, HistogramMetricFamily]:
    counter, histogram = HTTP_REQUESTS, HTTP_REQUEST_DURATION
    return (
        CounterMetricFamily(counter.name, counter.meaning, labels=counter.labels),
        HistogramMetricFamily(histogram.name, histogram.meaning, labels=histogram.labels),
    )
