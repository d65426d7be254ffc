"""A real Prometheus that tests own. ``.ci/install-prometheus`` fetches it where the system has none."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from processes import PATIENCE, wait_for
from services.postgres import free_port

FETCHED = Path(__file__).resolve().parent.parent.parent / ".cache" / "prometheus" / "bin"


def prometheus_program(name: str) -> str:
    """Where ``prometheus`` or ``promtool`` is. Where there is none the test is skipped, and in CI it fails."""
    found = shutil.which(name) or shutil.which(name, path=FETCHED)
    if found is None:
        reason = f"{name} is not installed: run .ci/install-prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def checked_by_promtool(metrics: bytes) -> str:
    """What ``promtool check metrics`` objects to in the form of a text, if anything."""
    done = subprocess.run(
        [prometheus_program("promtool"), "check", "metrics"],
        input=metrics,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return (done.stdout + done.stderr).decode() if done.returncode else ""


@contextmanager
def running_until_killed(
    name: str, command: Sequence[str], folder: Path, url: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that tells at ``/-/ready`` when it is, as all of Prometheus's do, for the time of a ``with`` block.

    Args:
        name: Its own.
        command: Its command line.
        folder: Where it runs, and where its log goes.
        url: At which it answers.
    """
    log = folder / f"{name.lower()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return urllib3.request("GET", f"{url}/-/ready", retries=False, timeout=PATIENCE).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    try:
        wait_for(ready, f"{name} to be ready")
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self._process = process

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def api(self, path: str, **parameters: str) -> Any:
        """What its HTTP API answers: https://prometheus.io/docs/prometheus/latest/querying/api/."""
        answer = urllib3.request(
            "GET", f"{self.url}/api/v1/{path}", fields=parameters, retries=False, timeout=PATIENCE
        )  # fmt: skip
        document = answer.json()
        assert document["status"] == "success", document
        assert not document.get("warnings"), document
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now."""
        result: list[dict[str, Any]] = self.api("query", query=expression)["result"]
        return result


@contextmanager
def running_prometheus(folder: Path, configuration: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus for the time of a ``with`` block.

    Args:
        folder: Where its configuration and its data go; a temporary one.
        configuration: As in ``prometheus.yml``.
    """
    program = prometheus_program("prometheus")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(configuration)))
    port = free_port()
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--query.lookback-delta=1m",
    ]
    url = f"http://127.0.0.1:{port}"
    with running_until_killed("Prometheus", command, folder, url) as process:
        yield Prometheus(url, process)
