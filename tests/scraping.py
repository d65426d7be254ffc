"""``GET /metrics`` as tests read it."""

from collections.abc import Iterator, Mapping

import urllib3
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from processes import PATIENCE, ServerProcess


class Scrape:
    """What a node said of itself at one moment."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def samples(self, name: str, labels: Mapping[str, str]) -> Iterator[Sample]:
        """The series of this name that have at least these labels."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample

    def sum(self, name: str, **labels: str) -> float:
        """Of all their values; 0 if there are none."""
        return sum(sample.value for sample in self.samples(name, labels))

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a series."""
        return any(self.samples(name, labels))


def get_metrics(server: ServerProcess, **headers: str) -> urllib3.BaseHTTPResponse:
    """The answer as it is."""
    return urllib3.request("GET", f"{server.url}/metrics", headers=headers, retries=False, timeout=PATIENCE)


def scrape(server: ServerProcess) -> Scrape:
    """All metrics of a node."""
    answer = get_metrics(server)
    assert answer.status == 200, answer.data
    return Scrape(answer.data.decode())
