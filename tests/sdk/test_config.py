"""What a client is told: arguments over environment over defaults, and what becomes of nonsense."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fader.config import DEFAULT_URL, settings

KEY = {"FADER_SDK_KEY": "default:production.secret"}


def test_without_anything_a_client_is_offline_and_says_what_is_missing() -> None:
    told = settings(environ={})
    assert told.offline
    assert told.url == DEFAULT_URL
    assert "FADER_SDK_KEY" in told.problems[0]


def test_the_environment_tells_everything() -> None:
    told = settings(
        environ={
            "FADER_URL": "https://flags.example.org/team-a/",
            "FADER_SDK_KEY": " default:production.secret\n",
            "FADER_APP": "shop",
            "FADER_CACHE_DIR": "/var/cache/shop",
            "FADER_STREAMING": "0",
            "FADER_POLL_INTERVAL": "2.5",
            "FADER_USAGE": "off",
            "FADER_CA_FILE": "/etc/ca.pem",
        }
    )
    assert told.url == "https://flags.example.org/team-a"
    assert told.sdk_key == "default:production.secret"
    assert told.app == "shop"
    assert told.cache_dir == Path("/var/cache/shop")
    assert told.streaming is False
    assert told.poll_interval == 2.5
    assert told.usage is False
    assert told.offline is False
    assert told.ca_file == Path("/etc/ca.pem")
    assert told.problems == ()


def test_arguments_win_over_the_environment() -> None:
    environ = {**KEY, "FADER_URL": "http://from-environment", "FADER_OFFLINE": "1", "FADER_APP": "theirs"}
    told = settings(url="http://argument", offline=False, app="ours", environ=environ)
    assert (told.url, told.offline, told.app) == ("http://argument", False, "ours")


@pytest.mark.parametrize(
    "variables",
    [
        {"FADER_URL": "flags.example.org"},
        {"FADER_URL": "ftp://flags.example.org"},
        {"FADER_URL": "http://host:port"},
        {"FADER_URL": "http://me:secret@host"},
        {"FADER_STREAMING": "perhaps"},
        {"FADER_POLL_INTERVAL": "0"},
        {"FADER_POLL_INTERVAL": "nan"},
        {"FADER_POLL_INTERVAL": "often"},
    ],
)
def test_a_senseless_variable_is_reported_and_ignored(variables: Mapping[str, str]) -> None:
    told = settings(environ={**KEY, **variables})
    assert replace(told, problems=()) == settings(environ=KEY)
    assert len(told.problems) == 1
    assert next(iter(variables)) in told.problems[0]
    assert "secret" not in told.problems[0]


@pytest.mark.parametrize(
    "argument",
    [
        {"url": "flags.example.org"},
        {"url": "https://"},
        {"url": "https://host/?query"},
        {"url": 8080},
        {"sdk_key": "with space"},
        {"sdk_key": "with\nnewline"},
        {"sdk_key": "ключ"},
        {"poll_interval": -1},
        {"poll_interval": "soon"},
    ],
)
def test_a_senseless_argument_is_refused_where_it_is_made(argument: dict[str, Any]) -> None:
    (name,) = argument
    with pytest.raises(ValueError, match=f"^{name}: "):
        settings(**argument, environ=KEY)


def test_the_key_is_in_no_text_about_settings() -> None:
    told = settings(environ=KEY)
    assert "secret" not in repr(told)
    assert "secret" not in str(told)


def test_a_key_that_cannot_be_one_is_not_repeated_in_the_report() -> None:
    told = settings(environ={"FADER_SDK_KEY": "my very secret key"})
    assert told.offline
    assert not any("secret key" in problem for problem in told.problems)


def test_a_key_from_a_file_is_read_again_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("default:production.first\n")
    told = settings(environ={"FADER_SDK_KEY_FILE": str(file)})
    assert told.current_key() == "default:production.first"
    file.write_text("default:production.second\n")
    assert told.current_key() == "default:production.second"


def test_a_file_with_a_key_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    told = settings(environ={"FADER_SDK_KEY_FILE": str(tmp_path / "later")})
    assert not told.offline
    assert "FADER_SDK_KEY_FILE" in told.problems[0]
    with pytest.raises(OSError, match="later"):
        told.current_key()


@pytest.mark.parametrize("off", ["", "off"])
def test_the_cache_can_be_switched_off(off: str) -> None:
    assert settings(environ={**KEY, "FADER_CACHE_DIR": off}).cache_dir is None
    assert settings(cache_dir=off, environ=KEY).cache_dir is None
    assert settings(cache_dir=None, environ=KEY).cache_dir is None


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG specification")
def test_the_cache_is_where_the_platform_keeps_such_things(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(environ={**KEY, "XDG_CACHE_HOME": "/caches"}).cache_dir == Path("/caches/fader")
    monkeypatch.setenv("HOME", "/home/me")
    assert settings(environ={**KEY, "XDG_CACHE_HOME": "relative"}).cache_dir == Path("/home/me/.cache/fader")
    assert settings(environ=KEY).cache_dir == Path("/home/me/.cache/fader")
