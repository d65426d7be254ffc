"""Servers of others, to be measured beside ours: each installed once, into a folder of its own in ``.cache``."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import urllib3

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from services.installed_once import installed_once
from services.postgres import PostgresServer, free_port

_PEERS: Final = Path(__file__).parent / "peers"
_ADMIN: Final = "*:*.an-admin-of-the-load-test"
CLIENT: Final = "*:development.a-client-of-the-load-test"
"""The key with which clients ask Unleash."""
_PATIENCE: Final = 60.0


def has_node() -> bool:
    """Whether there is what Unleash's server needs."""
    return all(_node())


def _node() -> tuple[str, str]:
    """Where npm and Node are; nothing where they are not."""
    return shutil.which("npm") or "", shutil.which("node") or ""


@contextmanager
def _running(command: Sequence[str], variables: Mapping[str, str], folder: Path, answers: str) -> Iterator[int]:
    """A process for the time of a ``with`` block, from when it answers on; its id."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | dict(variables), cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                urllib3.request("GET", answers, retries=False)
                break
            except urllib3.exceptions.HTTPError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(log.read_text()[-2000:]) from None
                time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_unleash(folder: Path, features: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Unleash on PostgreSQL, with features that are on in ``development``.

    Args:
        folder: For its log; a temporary one.
        features: Each with its ``name`` and its ``strategies``.

    Returns:
        The id of its process, and its port.
    """
    npm, node = _node()
    install = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    installed = installed_once("unleash-server", [_PEERS / "package.json"], lambda _: install)
    postgres, port = PostgresServer(), free_port()
    try:
        postgres.start()
        variables = {
            "DATABASE_URL": postgres.create_database(),
            "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1",
            "PORT": str(port),
            "LOG_LEVEL": "error",
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "INIT_ADMIN_API_TOKENS": _ADMIN,
            "INIT_CLIENT_API_TOKENS": CLIENT,
            "SDK_API_RATE_LIMIT_PER_MINUTE": "100000000",
            "TOKEN_AUTHENTICATION_RATE_LIMIT_PER_MINUTE": "100000000",
        }
        command = [node, str(installed / "node_modules" / "unleash-server" / "dist" / "server.js")]
        url = f"http://127.0.0.1:{port}"
        with _running(command, variables, folder, f"{url}/health") as pid:
            _fill(url, features)
            yield pid, port
    finally:
        postgres.close()


def _fill(url: str, features: Sequence[Mapping[str, Any]]) -> None:
    pool = urllib3.PoolManager(headers={"Authorization": _ADMIN}, retries=False)

    def post(path: str, body: Any = None) -> None:
        answer = pool.request("POST", f"{url}/api/admin/projects/default/features{path}", json=body or {})
        if answer.status >= 300:
            raise SystemExit(f"Unleash refuses {path}: {answer.data.decode()}")

    for feature in features:
        post("", {"name": feature["name"], "type": "release"})
        for strategy in feature["strategies"]:
            post(f"/{feature['name']}/environments/development/strategies", strategy)
        post(f"/{feature['name']}/environments/development/on")


@contextmanager
def running_fast_feature(folder: Path, flags: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """fast-feature, with flags in its memory.

    Args:
        folder: For the flags and its log; a temporary one.
        flags: In its own form.

    Returns:
        The id of its process, and its port.
    """
    pins = _PEERS / "fast-feature.txt"

    def install(into: Path) -> list[str]:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--target", str(into / "packages"), "-r", str(pins)]

    installed, port = installed_once("fast-feature", [pins], install), free_port()
    (folder / "flags.json").write_text(json.dumps(list(flags)))
    command = [sys.executable, "-S", str(_PEERS / "fast_feature_server.py"), str(port), str(folder / "flags.json")]
    variables = {"PYTHONPATH": str(installed / "packages")}
    with _running(command, variables, folder, f"http://127.0.0.1:{port}/") as pid:
        yield pid, port
