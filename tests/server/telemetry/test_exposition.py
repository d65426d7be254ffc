"""Metrics of several processes in one text: what Prometheus' own parsers take for one whole."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families

from fader_server.telemetry.exposition import TextFormat, merged, of_worker, written

Parser = Callable[[str], Iterable[Any]]
PARSERS: list[tuple[TextFormat, Parser]] = [
    ("openmetrics", openmetrics_families),
    ("prometheus", prometheus_families),
]


def registry_of(number: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    requests = Counter("requests_total", 'What was asked: "this",\nor that.', ["route"], registry=registry)
    requests.labels("/a").inc(number)
    if number == 2:
        requests.labels('/with "quotes"\n# HELP me').inc(7)
        Gauge("only_here", "Of one process.", registry=registry).set(1)
    Histogram("seconds", "How long.", ["kind"], buckets=(1, 2), registry=registry).labels("k").observe(number)
    return registry


@pytest.mark.parametrize(("text_format", "parse"), PARSERS)
def test_each_family_is_there_once_with_the_series_of_all(text_format: TextFormat, parse: Parser) -> None:
    texts = [written(of_worker(registry_of(number), number), text_format) for number in (1, 2, 3)]
    text = merged(texts, text_format).decode()
    families = {family.name: family for family in parse(text)}
    assert text.count("# TYPE ") == len(families) == len(list(parse(text)))
    assert text.count("# EOF") == (text_format == "openmetrics")

    def values(family: str, sample: str, **labels: str) -> dict[str, float]:
        return {
            one.labels["worker"]: one.value
            for one in families[family].samples
            if one.name == sample and labels.items() <= one.labels.items()
        }

    assert values("requests", "requests_total", route="/a") == {"1": 1, "2": 2, "3": 3}
    assert values("requests", "requests_total", route='/with "quotes"\n# HELP me') == {"2": 7}
    assert values("only_here", "only_here") == {"2": 1}
    assert values("seconds", "seconds_bucket", le="2.0") == {"1": 1, "2": 1, "3": 0}
    assert values("seconds", "seconds_sum", kind="k") == {"1": 1, "2": 2, "3": 3}
    assert families["requests"].documentation == 'What was asked: "this",\nor that.'
    assert families["seconds"].type == "histogram"


@pytest.mark.parametrize(("text_format", "parse"), PARSERS)
def test_of_one_it_is_what_that_one_says(text_format: TextFormat, parse: Parser) -> None:
    text = written(registry_of(2), text_format)
    assert merged([text], text_format) == text


def test_labelling_leaves_the_registry_as_it_was() -> None:
    registry = registry_of(2)
    before = written(registry, "prometheus")
    written(of_worker(registry, 4), "prometheus")
    assert written(registry, "prometheus") == before
