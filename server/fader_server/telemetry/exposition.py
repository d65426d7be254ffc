"""Metrics as text, in the format that whoever asks can read; of one process, or of several in one."""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

TextFormat: TypeAlias = Literal["openmetrics", "prometheus"]

MEDIA_TYPES: Final[dict[TextFormat, str]] = {
    "openmetrics": openmetrics.CONTENT_TYPE_LATEST,
    "prometheus": CONTENT_TYPE_PLAIN_0_0_4,
}

_OPENMETRICS: Final = frozenset({"0.0.1", "1.0.0"})
_HELP: Final = b"# HELP "
_END: Final = b"# EOF\n"


def wanted_format(accept: str) -> TextFormat:
    """What an ``Accept`` header asks for: OpenMetrics if it names it, in the version that we write or in its draft;
    else Prometheus' text format. (The library's own choice fails for versions that are no numbers.)"""
    for media_range in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        if media_type == "application/openmetrics-text":
            given = dict(parameter.partition("=")[::2] for parameter in parameters)
            if given.get("version", "1.0.0") in _OPENMETRICS and given.get("q", "1").strip("0.") != "":
                return "openmetrics"
    return "prometheus"


def written(registry: CollectorRegistry, text_format: TextFormat) -> bytes:
    """Everything that a registry has collected."""
    if text_format == "openmetrics":
        text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text
    return generate_latest(registry)


def of_worker(registry: CollectorRegistry, worker: int) -> CollectorRegistry:
    """The same, with the label ``worker`` on every series."""
    labelled = CollectorRegistry()
    labelled.register(_OfWorker(registry, worker))
    return labelled


class _OfWorker(Collector):
    def __init__(self, registry: CollectorRegistry, worker: int) -> None:
        self._registry = registry
        self._label = {"worker": str(worker)}

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            # The registry's own may be what it will give the next time, too.
            labelled = Metric(family.name, family.documentation, family.type, family.unit)
            labelled.samples = [one._replace(labels=one.labels | self._label) for one in family.samples]
            yield labelled


def merged(texts: Iterable[bytes], text_format: TextFormat) -> bytes:
    """One text of several: each family once, with its series from all of them. Both formats want the lines of a family
    to be together.

    Args:
        texts: Of processes whose series differ in a label.
        text_format: Which all of them have.
    """
    families: dict[bytes, list[bytes]] = {}
    for text in texts:
        for family in text.removesuffix(_END).split(b"\n" + _HELP):
            name = family.removeprefix(_HELP).split(b" ", 1)[0]
            lines = family.removeprefix(_HELP).rstrip(b"\n").split(b"\n")
            if name in families:
                lines = [line for line in lines[1:] if not line.startswith(b"# ")]
            families.setdefault(name, []).extend(lines)
    whole = b"".join(_HELP + b"\n".join(lines) + b"\n" for lines in families.values())
    return whole + (_END if text_format == "openmetrics" else b"")
