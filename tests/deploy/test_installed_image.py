"""The image at work: built and run as the Dockerfile says, told what the compose file and the manifests tell it."""

import importlib.metadata
import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from deploy.containers import BuiltImage, Container
from deploy.manifests import Workload, migrations, servers
from deploy.programs import ROOT
from processes import PATIENCE
from services.postgres import PostgresDatabases
from services.redis_server import RedisDatabases

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(180)]

Start = Callable[..., Container]


def name_of(workload: Workload) -> str:
    return workload.name


@pytest.fixture
def given(postgres: PostgresDatabases, redis_server: RedisDatabases) -> dict[str, str]:
    """Secrets, by the names of their files."""
    return {
        "database-url": postgres.create_database(),
        "redis-url": redis_server.url,
        "admin-token": f"fader_{secrets.token_hex(20)}",
    }


@pytest.fixture
def container(image: BuiltImage, given: dict[str, str]) -> Iterator[Start]:
    """Makes containers that end with the test."""
    with ExitStack() as stack:

        def make(workload: Workload, **extra: str) -> Container:
            made = Container(image, workload, given, extra)
            stack.callback(made.close)
            return made

        yield make


def migrate(container: Start) -> None:
    migration = container(migrations()[0])
    migration.start()
    assert migration.end() == 0, migration.log


def test_it_holds_the_pinned_versions_and_nothing_else(image: BuiltImage) -> None:
    site = next((image.root / "lib").glob("python*/site-packages"))
    installed = {
        found.name.lower().replace("_", "-"): found.version
        for found in importlib.metadata.distributions(path=[str(site)])
    }  # fmt: skip
    pins = dict(
        re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements/constraints.txt").read_text("utf-8"), re.MULTILINE)
    )
    assert "fader" in installed
    assert {name: version for name, version in installed.items() if pins.get(name) != version}.keys() == {"fader"}
    assert not {"pip", "pytest", "ruff", "hatchling"} & installed.keys()


def test_its_bytecode_is_there_because_nobody_can_write_it_later(image: BuiltImage) -> None:
    package = next((image.root / "lib").glob("python*/site-packages/fader_server"))
    modules = [path for path in package.rglob("*.py") if path.stat().st_size]
    missing = [path for path in modules if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))]
    assert modules
    assert not missing


@pytest.mark.parametrize("workload", migrations(), ids=name_of)
def test_it_migrates(container: Start, workload: Workload) -> None:
    for _ in range(2):
        migration = container(workload)
        migration.start()
        assert migration.end() == 0, migration.log


@pytest.mark.parametrize("workload", [servers()[0], servers()[-1]], ids=name_of)
def test_it_serves_and_ends_in_time(container: Start, given: dict[str, str], workload: Workload) -> None:
    migrate(container)
    server = container(workload, FADER_PORT="0", FADER_DRAIN_SECONDS="0")
    server.listen()
    assert server.is_healthy()
    with urllib3.PoolManager(retries=False, timeout=PATIENCE) as pool:
        ready = pool.request("GET", f"{server.url}/health/ready")
        assert ready.status == 200, ready.data
        authorised = {"Authorization": f"Bearer {given['admin-token']}"}
        assert pool.request("GET", f"{server.url}/api/v1/projects", headers=authorised).status == 200
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{server.process.pid}/{name}")
        if shown.exists():
            assert not [secret for secret in given.values() if secret.encode() in shown.read_bytes()]
    assert server.stop() == 0, server.log
    assert not server.is_healthy()
    assert all(json.loads(line) for line in server.log.splitlines())
    assert not [secret for secret in given.values() if secret in server.log]


def test_without_a_database_it_says_what_is_missing_in_one_line(container: Start) -> None:
    server = container(Workload("no database", (), {}, (), 10), FADER_PORT="0")
    server.start()
    assert server.end() == 2
    (line,) = [line for line in server.log.splitlines() if not line.startswith("{")]
    assert line == "fader-server: DATABASE_URL: unable to open database file"
