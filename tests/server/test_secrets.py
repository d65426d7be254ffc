"""Secrets are where they must be and nowhere else: not in logs, not in answers, not in what ``ps`` shows."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import urllib3

from fader_server.settings import SettingsError, read_settings
from processes import PATIENCE, ServerProcess, wait_for
from raw_stream import RawStream
from services.postgres import PostgresServer
from services.redis_server import RedisServer

pytestmark = pytest.mark.usefixtures("cold_starts")


class Shared:
    """Databases that the test may stop, with passwords that it can look for."""

    def __init__(self) -> None:
        self.postgres = PostgresServer()
        self.redis = RedisServer()

    @property
    def secrets(self) -> list[str]:
        return [self.postgres.password, self.redis.password]

    def close(self) -> None:
        self.postgres.close()
        self.redis.close()


def _files(folder: Path, **values: str) -> dict[str, str]:
    """Secrets as container platforms hand them over."""
    given = {}
    for name, value in values.items():
        path = folder / name.lower()
        path.write_text(f"{value}\n")
        given[f"{name}_FILE"] = str(path)
    return given


def _shown(server: ServerProcess) -> str:
    """What other users of the machine see of the process."""
    return Path(f"/proc/{server.process.pid}/cmdline").read_text().replace("\0", " ")


def test_no_secret_is_written_down_or_shown_whatever_goes_wrong(tmp_path: Path) -> None:
    shared = Shared()
    try:
        shared.postgres.start()
        shared.redis.start()
        database = shared.postgres.create_database()
        handed_over = _files(tmp_path, DATABASE_URL=database, REDIS_URL=shared.redis.url)
        server = ServerProcess(
            tmp_path / "node",
            {**handed_over, "DATABASE_URL": "", "FADER_MIGRATE": "always", "FADER_LOG_LEVEL": "debug"},
        )
        try:
            server.start()
            answers = [_asked(server)]
            made = server.admin.ok("POST", "/tokens", {"name": "t", "role": "viewer"})
            issued = server.admin.ok("POST", "/projects/default/keys", {"name": "k", "environment": "production"})
            RawStream(server, key=issued["secret"]).close()
            shown = _shown(server)
            shared.redis.kill()
            shared.postgres.kill()
            wait_for(lambda: server.admin.request("GET", "/projects").status == 503, "the database to be missed")
            answers.append(_asked(server))
            assert server.terminate() == 0
        finally:
            server.close()
        secrets = [*shared.secrets, server.admin_token, server.sdk_key(), made["secret"], issued["secret"]]
        for place, text in (("log", server.log.read_text()), ("answers", "".join(answers)), ("ps", shown)):
            for secret in secrets:
                assert secret.removeprefix("fader_") not in text, f"a secret is in the {place}"
        assert "the database does not answer" in server.log.read_text()
    finally:
        shared.close()


def _asked(server: ServerProcess) -> str:
    """What anybody gets to see, asked well and badly."""
    texts = [
        urllib3.request("GET", f"{server.url}{path}", retries=False, timeout=PATIENCE).data.decode()
        for path in ("/health/ready", "/health/live", "/metrics", "/sdk/v1/snapshot", "/nothing", "/api/v1/projects")
    ]
    texts.append(str(server.admin.request("POST", "/projects/default/flags", raw=b"\xff")))
    texts.append(str(server.admin.request("POST", "/projects/default/flags", {"key": "a b"})))
    texts.append(str(server.admin.request("GET", "/projects/%00")))
    return "".join(texts)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"DATABASE_URL": "postgresql://fader:planted-secret@127.0.0.1:none/fader"}, "DATABASE_URL"),
        ({"DATABASE_URL": "oracle://fader:planted-secret@host/fader"}, "DATABASE_URL"),
        ({"DATABASE_URL": "planted-secret"}, "DATABASE_URL"),
        ({"REDIS_URL": "http://:planted-secret@host"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:planted-secret@host:port/0"}, "REDIS_URL"),
        ({"FADER_INITIAL_ADMIN_TOKEN": "planted-secret"}, "FADER_INITIAL_ADMIN_TOKEN"),
        ({"FADER_INITIAL_SDK_KEYS": "nowhere:at-all.planted-secret-that-is-long-enough"}, "FADER_INITIAL_SDK_KEYS"),
        ({"FADER_METRICS_TOKEN": "planted secret"}, "FADER_METRICS_TOKEN"),
        ({"FADER_WEBHOOKS": "https://ops.example:planted-secret/"}, "FADER_WEBHOOKS"),
        ({"FADER_WEBHOOK_SECRET": "whsec_planted-secret"}, "FADER_WEBHOOK_SECRET"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(given: dict[str, str], names: str, tmp_path: Path) -> None:
    ended = _start(tmp_path, given)
    assert ended.returncode == 2
    assert names in ended.stderr
    assert "planted" not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_database_that_refuses_the_password_is_told_in_one_line(tmp_path: Path) -> None:
    postgres = PostgresServer()
    try:
        postgres.start()
        url = postgres.url().replace(postgres.password, quote("planted-secret"))
        ended = _start(tmp_path, {"DATABASE_URL": url})
    finally:
        postgres.close()
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(
        "fader-server: DATABASE_URL leads to no database that Fader can use: password authentication"
    )
    assert "planted" not in ended.stderr + ended.stdout


def _start(folder: Path, given: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "", "DATABASE_URL": f"sqlite:///{folder}/fader.db", "FADER_PORT": "0"} | given
    return subprocess.run(
        [sys.executable, "-m", "fader_server", "serve"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_settings_do_not_show_what_is_secret() -> None:
    planted = {
        "DATABASE_URL": "postgresql://fader:planted-1@host/fader",
        "REDIS_URL": "redis://:planted-2@host",
        "FADER_INITIAL_ADMIN_TOKEN": "fader_planted-3-planted-3",
        "FADER_INITIAL_SDK_KEYS": "default:production.planted-4-planted-4",
        "FADER_METRICS_TOKEN": "planted-5-planted-5",
        "FADER_PROMETHEUS_URL": "https://me:planted-6@prometheus.example",
        "FADER_PROMETHEUS_TOKEN": "planted-7-planted-7",
        "FADER_WEBHOOKS": "https://ops.example/planted-8,slack+https://slack.example/planted-9",
    }
    settings = read_settings(planted)
    assert "planted" not in repr(settings) + str(settings)
    assert "planted-2" in str(settings.redis_url)
    with pytest.raises(SettingsError) as refused:
        read_settings(planted | {"DATABASE_URL_FILE": "/planted"})
    assert "planted-1" not in str(refused.value)
