"""A real Alertmanager that tests own. ``.ci/install-prometheus`` fetches it where the system has none."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from processes import PATIENCE
from services.postgres import free_port
from services.prometheus import prometheus_program, running_until_killed


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, url: str) -> None:
        self._url = url

    def fire(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        """Tell it of an alert, as Prometheus does."""
        self._tell({"labels": labels, "annotations": annotations})

    def resolve(self, labels: Mapping[str, str]) -> None:
        """Tell it that the alert is over."""
        now = datetime.now(UTC)
        began = now - timedelta(minutes=1)
        self._tell({"labels": labels, "startsAt": began.isoformat(), "endsAt": now.isoformat()})

    def _tell(self, alert: dict[str, Any]) -> None:
        answer = urllib3.request("POST", f"{self._url}/api/v2/alerts", json=[alert], retries=False, timeout=PATIENCE)
        assert answer.status == 200, answer.data


def _with_templates(program: str) -> list[str]:
    """What to run it by, so that it finds its templates, which Debian's looks for below /usr/share, wherever they have
    been unpacked: in a mount namespace of its own."""
    share = Path(program).parent.parent / "share"
    if Path("/usr/share/prometheus/alertmanager").exists() or not share.exists():
        return [program]
    apart = ["unshare", "--map-root-user", "--mount"]
    tried = [*apart, "mount", "--bind", str(share), "/usr/share"]
    if subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("Alertmanager is not installed, and user namespaces are not to be had")
    return [*apart, "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"', str(share), program]


@contextmanager
def running_alertmanager(folder: Path, hook: str) -> Iterator[Alertmanager]:
    """An Alertmanager that tells one URL of all alerts, for the time of a ``with`` block.

    Args:
        folder: Where its configuration and its data go; a temporary one.
        hook: The URL.
    """
    program = prometheus_program("prometheus-alertmanager")
    receiver = {"name": "fader", "webhook_configs": [{"url": hook, "send_resolved": True}]}
    route = {"receiver": "fader", "group_wait": "10ms", "group_interval": "100ms", "repeat_interval": "1h"}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))
    port = free_port()
    command = [
        *_with_templates(program),
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    with running_until_killed("Alertmanager", command, folder, url):
        yield Alertmanager(url)
