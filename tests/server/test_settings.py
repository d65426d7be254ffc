"""Settings: from the environment only, and whatever is wrong with them is said by name before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest

from fader_server.settings import SETTINGS, SettingsError, read_settings


def test_nothing_needs_to_be_set() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.database_url == "sqlite:///fader.db"
    assert settings.initial_admin_token is None
    assert settings.initial_sdk_keys == ()


def test_every_setting_is_read_from_its_variable() -> None:
    settings = read_settings(
        {
            "FADER_HOST": "0.0.0.0",
            "FADER_PORT": "9000",
            "DATABASE_URL": "sqlite:////data/f.db",
            "FADER_LOG_FORMAT": "JSON",
            "FADER_LOG_LEVEL": "warning",
            "FADER_HEARTBEAT_SECONDS": "2.5",
            "FADER_POLL_SECONDS": "3",
            "FADER_MAX_BODY_BYTES": "2048",
            "FADER_SHUTDOWN_SECONDS": "20",
            "FADER_INITIAL_ADMIN_TOKEN": "fader_x",
            "FADER_INITIAL_SDK_KEYS": "default:a.b, default:c.d",
        }
    )
    assert settings.port == 9000
    assert settings.log_format == "json"
    assert settings.heartbeat_seconds == 2.5
    assert settings.initial_sdk_keys == ("default:a.b", "default:c.d")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FADER_PORT", "eighty", "whole number from 0 to 65535"),
        ("FADER_PORT", "70000", "whole number"),
        ("FADER_LOG_LEVEL", "loud", "one of debug, info"),
        ("FADER_HEARTBEAT_SECONDS", "nan", "number of seconds"),
        ("FADER_MAX_BODY_BYTES", "-1", "whole number"),
        ("FADER_PROT", "8080", "did you mean FADER_PORT?"),
        ("FADER_COLOUR_OF_THE_SKY", "blue", "unset it"),
        ("DATABASE_URL", "fader.db", "sqlite:///fader.db"),
        ("FADER_INITIAL_ADMIN_TOKEN_FILE", "/nowhere/token", "cannot be read"),
        ("FADER_CORS_ORIGINS", "shop.example", "https://shop.example"),
        ("FADER_CORS_ORIGINS", "https://shop.example/cart", "https://shop.example"),
        ("FADER_TRUSTED_PROXIES", "10.0.0.1/8", "10.0.0.0/8"),
        ("FADER_PROMETHEUS_URL", "prometheus:9090", "https://prometheus.example:9090"),
        ("FADER_PROMETHEUS_URL", "https://prometheus.example/graph?g0=x", "https://prometheus.example:9090"),
        ("FADER_PROMETHEUS_URL", "https://prometheus.example:none", "https://prometheus.example:9090"),
        ("FADER_WEBHOOKS", "https://ops.example/fader,slack", "https://ops.example/fader"),
        ("FADER_WEBHOOKS", "slack+ftp://ops.example", "https://ops.example/fader"),
        ("FADER_WEBHOOKS", "https://ops.example:none/", "https://ops.example/fader"),
        ("FADER_WEBHOOK_SECRET", "hunter2", "openssl rand -base64 32"),
        ("FADER_WEBHOOK_SECRET", "whsec_aHVudGVyMg==", "openssl rand -base64 32"),
        ("FADER_WEBHOOK_SECRET", "whsec_????????????????????????????????????", "openssl rand -base64 32"),
    ],
)
def test_what_is_wrong_is_named_with_the_mend(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({variable: value})
    (problem,) = caught.value.problems
    assert problem.startswith(variable.removesuffix("_FILE"))
    assert said in problem


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"FADER_PORT": "x", "FADER_LOG_LEVEL": "y", "FADER_PROT": "1"})
    assert len(caught.value.problems) == 3


def test_lists() -> None:
    told = read_settings({"FADER_CORS_ORIGINS": "https://Shop.example/, capacitor://localhost,", "FADER_WORKERS": "1"})
    assert told.cors_origins == ("https://shop.example", "capacitor://localhost")
    assert read_settings({}).cors_origins == ("*",)
    assert read_settings({"FADER_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).trusted_proxies == ("10.0.0.0/8", "::1")


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fader_from_a_file\n")
    settings = read_settings({"FADER_INITIAL_ADMIN_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.initial_admin_token == "fader_from_a_file"
    with pytest.raises(SettingsError, match="both set"):
        read_settings({"FADER_PORT": "1", "FADER_PORT_FILE": str(tmp_path / "token")})


def test_secrets_are_not_in_the_text_form() -> None:
    settings = read_settings({"FADER_INITIAL_ADMIN_TOKEN": "fader_planted", "FADER_INITIAL_SDK_KEYS": "a:b.planted"})
    assert "planted" not in repr(settings)


def test_variables_of_sdk_and_cli_are_left_alone() -> None:
    read_settings({"FADER_URL": "x", "FADER_SDK_KEY": "x", "FADER_TOKEN": "x", "FADER_PROFILE": "x"})


def test_every_setting_has_a_meaning() -> None:
    assert all(setting.meaning and setting.name.isupper() for setting in SETTINGS)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"FADER_PORT": "x"}, "FADER_PORT must be a whole number"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all/fader.db", "FADER_PORT": "0"}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://x:hunter2@y/z", "FADER_PORT": "0"}, "DATABASE_URL"),
        ({"FADER_INITIAL_ADMIN_TOKEN": "short", "FADER_PORT": "0"}, "FADER_INITIAL_ADMIN_TOKEN"),
        ({"FADER_HOST": "192.0.2.1", "FADER_PORT": "0"}, "cannot listen on 192.0.2.1"),
    ],
)
def test_a_server_that_cannot_start_says_so_in_a_line(variables: dict[str, str], said: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "fader_server", "serve"],
        env={"PATH": "", **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert said in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "hunter2" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("arguments", [[], ["run"], ["serve", "now"]])
def test_a_wrong_call_is_answered_with_the_usage(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "fader_server", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: fader-server")


def test_migrating_is_a_step_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fader_server", "migrate"]
    env = {"PATH": "", "DATABASE_URL": f"sqlite:///{tmp_path}/fader.db"}
    for _ in range(2):
        assert subprocess.run(command, env=env, timeout=60, check=False).returncode == 0
    assert (tmp_path / "fader.db").exists()
